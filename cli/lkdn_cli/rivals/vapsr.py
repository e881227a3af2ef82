"""VapSR: "Efficient Image Super-Resolution using Vast-Receptive-Field Attention" (ECCVW 2022).

The source of LKDN's pixel norm and of its attention: a 1x1, a 5x5 and a dilated 5x5.
"""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["VapSR"]


class VapSR(nn.Module):
    """The published x4 network: 48 channels, 64 in the attention, 21 blocks; 342,220 parameters."""

    def __init__(self) -> None:
        super().__init__()
        channels, attention, blocks = 48, 64, 21
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(channels, attention) for _ in range(blocks)))
        self.tail = nn.Conv2d(channels, channels, 3, padding=1)
        self.up1 = nn.Conv2d(channels, 64, 3, padding=1)
        self.up2 = nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 3, 4H, 4W)
        x = self.head(x)
        x = x + self.tail(self.blocks(x))
        x = F.leaky_relu(F.pixel_shuffle(self.up1(x), 2), 0.2)
        return F.pixel_shuffle(self.up2(x), 2)


class _Block(nn.Module):
    """VAB: attention between two 1x1, the sum normalised over the channels of each pixel."""

    def __init__(self, channels: int, attention: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, attention, 1)
        self.pointwise = nn.Conv2d(attention, attention, 1)
        self.depthwise = nn.Conv2d(attention, attention, 5, padding=2, groups=attention)
        self.dilated = nn.Conv2d(attention, attention, 5, padding=6, dilation=3, groups=attention)
        self.leave = nn.Conv2d(attention, channels, 1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        u = F.gelu(self.enter(x))
        u = u * self.dilated(self.depthwise(self.pointwise(u)))
        y: Tensor = self.norm((self.leave(u) + x).permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)
