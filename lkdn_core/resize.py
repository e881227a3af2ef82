"""Antialiased bicubic resizing equal to MATLAB's ``imresize`` (double precision, one rounding).

This is how super-resolution papers make low-resolution pictures. Weights come from Keys' cubic
with a = -0.5, stretched by the scale when shrinking; borders are mirrored.
"""

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["bicubic_weights", "resize"]


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Resize float pictures ``x`` (..., H, W) to (..., ``height``, ``width``); not clamped."""
    rows = bicubic_weights(x.shape[-2], height).to(x)
    columns = bicubic_weights(x.shape[-1], width).to(x)
    return rows @ x @ columns.T


@lru_cache(maxsize=64)
def bicubic_weights(size: int, new_size: int, *, shift: float = 0.0) -> Tensor:
    """The matrix (``new_size``, ``size``), float64, whose rows make one output sample each.

    ``shift`` moves every output sample by that many source samples (the siting of chroma).
    """
    scale = new_size / size
    support = 2.0 * max(1.0, 1.0 / scale)
    centre = (torch.arange(new_size, dtype=torch.float64) + 0.5) / scale - 0.5 + shift
    taps = int(support * 2) + 2
    index = torch.floor(centre - support)[:, None].long() + 1 + torch.arange(taps)  # (new, taps)
    weight = _cubic((centre[:, None] - index) * min(1.0, scale))
    weight = weight / weight.sum(1, keepdim=True)
    # Mirror with the edge sample repeated: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    index = index % (2 * size)
    index = torch.where(index < size, index, 2 * size - 1 - index)
    return torch.zeros(new_size, size, dtype=torch.float64).scatter_add_(1, index, weight)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -0.5."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
