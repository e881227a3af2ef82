"""LKDN and LKDN-S as they are trained (paper sections 3.1-3.2).

Module names follow the authors' checkpoints, so an official ``state_dict`` loads strictly.
``fuse.py`` turns a trained ``state_dict`` into the network that is run.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lkdn_core.checks import choose, whole
from lkdn_core.errors import ArgumentError

__all__ = [
    "INPUT_COPIES",
    "LKDN",
    "LKDN_CONFIGS",
    "MAX_BLOCKS",
    "MAX_CHANNELS",
    "SCALES",
    "LKDNConfig",
    "Refinement",
    "RepUpsampler",
    "Upsampler",
    "receptive_radius",
]

#: The head sees this many copies of the RGB input (section 3.1).
INPUT_COPIES: Final = 4
#: Bounds for what a file may ask for; the paper's networks have 56 channels and 8 blocks at most.
MAX_CHANNELS: Final = 512
MAX_BLOCKS: Final = 64
SCALES: Final = (2, 3, 4)
Refinement = Literal["bsconv", "bsrb", "rbsb"]
Upsampler = Literal["conv", "rep"]


@dataclass(frozen=True, slots=True)
class LKDNConfig:
    """Everything that sizes a network.

    ``scale``: enlargement factor. ``channels``: C, even. ``blocks``: number of LKDBs.
    ``refinement``: ``"bsconv"`` (LKDN) or ``"rbsb"`` (LKDN-S while it trains).
    ``upsampler``: ``"conv"`` (one 3x3) or ``"rep"`` (LKDN-S while it trains; fuses to one 3x3).
    Two more choices are for comparisons, and only train (`deployable`): ``"bsrb"``, a BSConv and
    its input, and ``attention``, the width A of the attention where it is not C; 0 leaves it and
    the pixel norm out. Raises ``ArgumentError``.
    """

    scale: int
    channels: int = 56
    blocks: int = 8
    refinement: Refinement = "bsconv"
    upsampler: Upsampler = "conv"
    attention: int | None = None

    def __post_init__(self) -> None:
        choose("scale", self.scale, SCALES)
        whole("channels", self.channels, 2, MAX_CHANNELS)
        if self.channels % 2:
            raise ArgumentError(f"channels: an even number is accepted, got {self.channels}")
        whole("blocks", self.blocks, 1, MAX_BLOCKS)
        choose("refinement", self.refinement, get_args(Refinement))
        choose("upsampler", self.upsampler, get_args(Upsampler))
        if self.attention is not None:
            whole("attention", self.attention, 0, MAX_CHANNELS)

    @property
    def deployable(self) -> bool:
        """Whether ``fuse.py`` can turn the trained network into one that is run."""
        return self.refinement != "bsrb" and self.attention is None

    @property
    def variant(self) -> str:
        """``"lkdn"``, ``"lkdn-s"``, or ``"custom"`` when the sizes are not the paper's."""
        return {(56, 8): "lkdn", (42, 5): "lkdn-s"}.get((self.channels, self.blocks), "custom")


def _paper_configs() -> dict[str, LKDNConfig]:
    lkdn = {f"lkdn-x{s}": LKDNConfig(s) for s in SCALES}
    small = {f"lkdn-s-x{s}": LKDNConfig(s, 42, 5, "rbsb", "rep") for s in SCALES}
    return lkdn | small


#: The paper's six networks in training form, by name: ``lkdn-x2`` ... ``lkdn-s-x4``.
LKDN_CONFIGS: Final[dict[str, LKDNConfig]] = _paper_configs()


def receptive_radius(blocks: int) -> int:
    """Exact receptive-field radius in input pixels: 63 for LKDN-S, 99 for LKDN.

    Head, last BSConv and upsampler reach 1 each; a block's four BSConvs and its attention
    (2 for the 5x5, 6 for the dilated 5x5) reach 12.
    """
    return 3 + 12 * blocks


class BSConv(nn.Module):
    """Blueprint separable convolution: 1x1 without bias, then depth-wise 3x3, nothing between."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.dw = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=out_channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, Ci, H, W) -> (N, Co, H, W)
        y: Tensor = self.dw(self.pw(x))
        return y


class BSRB(nn.Module):
    """Blueprint residual block of BSRN: a BSConv plus its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = BSConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        y: Tensor = self.conv(x) + x
        return y


class RBSB(nn.Module):
    """Re-parameterised blueprint block: ``p = pw(x) + x``, then ``dw3(p) + p + dw1(p)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pw = nn.Conv2d(channels, channels, 1, bias=False)
        self.dw = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.rep1x1 = nn.Conv2d(channels, channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        p = self.pw(x) + x
        y: Tensor = self.dw(p) + p + self.rep1x1(p)
        return y


class LargeKernelAttention(nn.Module):
    """``u * dwd(dw5(pw(u)))``: 1x1, depth-wise 5x5, depth-wise 5x5 with dilation 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.depthwise_dilated = nn.Conv2d(
            channels, channels, 5, padding=6, dilation=3, groups=channels
        )

    def forward(self, u: Tensor) -> Tensor:  # (N, C, H, W)
        v: Tensor = self.depthwise_dilated(self.depthwise(self.pointwise(u)))
        return u * v


class LKDB(nn.Module):
    """Large kernel distillation block: distil three times, attend, pixel norm, add the input."""

    def __init__(self, config: LKDNConfig) -> None:
        super().__init__()
        channels, half = config.channels, config.channels // 2
        attention = channels if config.attention is None else config.attention

        def refine() -> nn.Module:
            if config.refinement == "bsconv":
                return BSConv(channels, channels)
            return RBSB(channels) if config.refinement == "rbsb" else BSRB(channels)

        self.c1_d = nn.Conv2d(channels, half, 1)
        self.c1_r = refine()
        self.c2_d = nn.Conv2d(channels, half, 1)
        self.c2_r = refine()
        self.c3_d = nn.Conv2d(channels, half, 1)
        self.c3_r = refine()
        self.c4 = BSConv(channels, half)
        self.c5 = nn.Conv2d(4 * half, attention or channels, 1)
        self.atten: nn.Module | None = None
        if attention:
            self.atten = LargeKernelAttention(attention)
            self.c6 = nn.Conv2d(attention, channels, 1)
            self.pixel_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        d1, r1 = F.gelu(self.c1_d(x)), F.gelu(self.c1_r(x))
        d2, r2 = F.gelu(self.c2_d(r1)), F.gelu(self.c2_r(r1))
        d3, r3 = F.gelu(self.c3_d(r2)), F.gelu(self.c3_r(r2))
        d4 = F.gelu(self.c4(r3))
        u: Tensor = self.c5(torch.cat([d1, d2, d3, d4], 1))
        if self.atten is None:
            return x + u
        y = self.c6(self.atten(u))
        z: Tensor = self.pixel_norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + z


class RepUpsampler(nn.Module):
    """LKDN-S upsampler while it trains: ``conv1(x) + conv3(x) + conv3x3(pad_b(conv1x1(x)))``.

    ``pad_b`` pads with the bias of ``conv1x1``, which is what makes the fusion exact at the border.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        out = 3 * scale * scale
        self.scale = scale
        self.conv1 = nn.Conv2d(channels, out, 1)
        self.conv3 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv1x1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv3x3 = nn.Conv2d(2 * channels, out, 3)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, 3, sH, sW)
        weight, bias = self.conv1x1.weight, self.conv1x1.bias
        # A 1x1 of a zero is its bias: pad the input, and the border of the result is the bias.
        wide = F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, bias)
        return F.pixel_shuffle(self.conv1(x) + self.conv3(x) + self.conv3x3(wide), self.scale)


class LKDN(nn.Module):
    """The network in training form. Input and output are RGB in [0, 1]; no mean is subtracted."""

    def __init__(self, config: LKDNConfig) -> None:
        super().__init__()
        c = config.channels
        self.config = config
        self.fea_conv = BSConv(3 * INPUT_COPIES, c)
        for i in range(1, config.blocks + 1):
            self.add_module(f"B{i}", LKDB(config))
        self.c1 = nn.Conv2d(config.blocks * c, c, 1)
        self.c2 = BSConv(c, c)
        self.upsampler: nn.Module
        if config.upsampler == "rep":
            self.upsampler = RepUpsampler(c, config.scale)
        else:
            conv = nn.Conv2d(c, 3 * config.scale**2, 3, padding=1)
            self.upsampler = nn.Sequential(conv, nn.PixelShuffle(config.scale))

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 3, sH, sW)
        first = self.fea_conv(torch.cat([x] * INPUT_COPIES, 1))
        y, outs = first, []
        for i in range(1, self.config.blocks + 1):
            y = self.get_submodule(f"B{i}")(y)
            outs.append(y)
        y = self.c2(F.gelu(self.c1(torch.cat(outs, 1)))) + first
        rgb: Tensor = self.upsampler(y)
        return rgb
