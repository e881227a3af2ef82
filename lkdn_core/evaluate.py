"""The paper's evaluation protocol: PSNR and SSIM on the luma of 8-bit pictures.

Luma is BT.601 limited range as MATLAB's ``rgb2ycbcr`` gives it; ``scale`` pixels are cropped at
every border; pictures are rounded to 8 bits before they are compared (paper section 4.1). Luma
planes of a video, (1, H, W), are compared as they are.
"""

import torch
from torch import Tensor

from lkdn_core.checks import whole
from lkdn_core.errors import ArgumentError

__all__ = ["luma", "psnr", "ssim"]


def luma(rgb: Tensor) -> Tensor:
    """Luma in [16, 235] of 8-bit ``rgb`` (..., 3, H, W) as float64 (..., H, W), not rounded."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    # In one layout, or equal pictures may differ in the last bit of a sum.
    return 16 + torch.einsum("...chw,c->...hw", rgb.double().contiguous() / 255, weights)


def psnr(a: Tensor, b: Tensor, *, crop_border: int) -> float:
    """Peak signal-to-noise ratio in dB on luma of two pictures, (3, H, W) or (1, H, W) uint8.

    Raises ``ArgumentError`` for pictures of two shapes and where the crop leaves no pixel.
    """
    _check_alike(a, b, crop_border)
    difference = _luma(a, crop_border, least=1) - _luma(b, crop_border, least=1)
    return float(10 * torch.log10(255**2 / difference.square().mean()))


def ssim(a: Tensor, b: Tensor, *, crop_border: int) -> float:
    """Structural similarity (Wang et al. 2004, 11x11 Gaussian, sigma 1.5), else as `psnr`.

    Raises ``ArgumentError`` where the crop leaves less than the Gaussian needs.
    """
    _check_alike(a, b, crop_border)
    x, y = _luma(a, crop_border, least=11), _luma(b, crop_border, least=11)
    mx, my, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    denominator = (mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2)
    return float((numerator / denominator).mean())


def _check_alike(a: Tensor, b: Tensor, border: int) -> None:
    whole("crop_border", border, 0)
    if a.shape != b.shape:
        got = tuple(b.shape)
        raise ArgumentError(f"b: a picture {tuple(a.shape)} like a is accepted, got {got}")


def _luma(x: Tensor, border: int, *, least: int) -> Tensor:
    y = luma(x) if len(x) == 3 else x[0].double()
    if min(y.shape) - 2 * border < least:
        side, (height, width) = 2 * border + least, y.shape
        raise ArgumentError(
            f"crop_border: with {border}, pictures from {side}x{side} are accepted, "
            f"got {width}x{height}"
        )
    return y[border : y.shape[0] - border, border : y.shape[1] - border]


def _blur(maps: Tensor) -> Tensor:
    """``maps`` (N, H, W) under an 11x11 Gaussian of sigma 1.5: (N, H-10, W-10), borders cut."""
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    taps = (line / line.sum()).tolist()
    for dim in (1, 2):
        # Sums of shifted maps: torch's float64 convolution is many times slower.
        size = maps.shape[dim] - 10
        shifted = [tap * maps.narrow(dim, i, size) for i, tap in enumerate(taps)]
        maps = torch.stack(shifted).sum(0)
    return maps
