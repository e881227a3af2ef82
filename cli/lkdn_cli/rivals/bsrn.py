"""BSRN: "Blueprint Separable Residual Network for Efficient Image Super-Resolution" (CVPRW 2022).

LKDN grew out of it: the same distillation, with spatial attention at a low resolution (ESA) and
channel attention by contrast (CCA) where LKDN has one large kernel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BSRN"]


class BSRN(nn.Module):
    """The published network: 64 channels, 8 blocks; 352,400 parameters at x4."""

    def __init__(self) -> None:
        super().__init__()
        channels, blocks, self.scale = 64, 8, 4
        self.head = _Blueprint(12, channels)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.fuse = nn.Conv2d(blocks * channels, channels, 1)
        self.smooth = _Blueprint(channels, channels)
        self.upsampler = nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 3, sH, sW); sides from 15
        first = self.head(torch.cat([x] * 4, 1))
        y, outs = first, []
        for block in self.blocks:
            y = block(y)
            outs.append(y)
        y = self.smooth(F.gelu(self.fuse(torch.cat(outs, 1)))) + first
        return F.pixel_shuffle(self.upsampler(y), self.scale)


class _Blueprint(nn.Sequential):
    """A 1x1 across channels, then a depth-wise 3x3."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> None:
        depthwise = nn.Conv2d(outputs, outputs, 3, stride, padding, groups=outputs)
        super().__init__(nn.Conv2d(inputs, outputs, 1, bias=False), depthwise)


class _Block(nn.Module):
    """ESDB: three steps that refine, each with a distilled half; then both attentions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.distilled = nn.ModuleList(nn.Conv2d(channels, half, 1) for _ in range(3))
        self.refined = nn.ModuleList(_Blueprint(channels, channels) for _ in range(3))
        self.last = _Blueprint(channels, half)
        self.join = nn.Conv2d(4 * half, channels, 1)
        self.spatial = _SpatialAttention(channels)
        self.contrast = _ContrastAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        r, parts = x, []
        for distill, refine in zip(self.distilled, self.refined, strict=True):
            parts.append(F.gelu(distill(r)))
            r = F.gelu(refine(r) + r)
        parts.append(F.gelu(self.last(r)))
        return self.contrast(self.spatial(self.join(torch.cat(parts, 1)))) + x  # type: ignore[no-any-return]


class _SpatialAttention(nn.Module):
    """ESA: a mask made at about a sixth of the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = channels // 4
        self.squeeze = nn.Conv2d(channels, few, 1)
        self.shrink = _Blueprint(few, few, stride=2, padding=0)
        self.low = nn.ModuleList(_Blueprint(few, few) for _ in range(3))
        self.skip = nn.Conv2d(few, few, 1)
        self.expand = nn.Conv2d(few, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)
        low = F.max_pool2d(self.shrink(squeezed), 7, 3)
        first, second, third = self.low
        low = third(F.gelu(second(F.gelu(first(low)))))
        wide = F.interpolate(low, x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(wide + self.skip(squeezed)))


class _ContrastAttention(nn.Module):
    """CCA: channels weighted by the mean and the deviation of their samples."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = channels // 16
        self.down, self.up = nn.Conv2d(channels, few, 1), nn.Conv2d(few, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(x, (2, 3), correction=0, keepdim=True)
        return x * torch.sigmoid(self.up(F.relu(self.down(deviation + mean))))
