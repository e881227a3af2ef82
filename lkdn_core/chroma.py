"""Chroma resampled to luma's samples and back, in plain torch, and the sums that do it.

Catmull-Rom bicubic, antialiased when shrinking, borders mirrored. Sums of shifted slices: a
convolution of one channel is several times slower on a CPU, and on a GPU it may run in TF32.
"""

from functools import lru_cache
from types import EllipsisType
from typing import Final

import torch
from torch import Tensor

from lkdn_core.formats import FrameFormat
from lkdn_core.resize import bicubic_weights

__all__ = ["Taps", "downsample", "enlarging_taps", "shrinking_taps", "sites", "upsample"]

#: (index of a sample, weight) of each addend of a sum.
Taps = tuple[tuple[int, float], ...]

#: Chroma locations that are not in the middle of the luma samples they stand for, by axis:
#: 0 is the first of these luma samples, 1 the last.
_HORIZONTAL: Final = {"left": 0.0, "topleft": 0.0, "bottomleft": 0.0}
_VERTICAL: Final = {"topleft": 0.0, "top": 0.0, "bottomleft": 1.0, "bottom": 1.0}


def upsample(x: Tensor, format: FrameFormat, height: int, width: int) -> Tensor:
    """Chroma (..., h, w) at every luma sample: (..., ``height``, ``width``)."""
    # Rows first: their sums run over contiguous memory, and the picture is still narrow.
    for dim, size, factor, site in _axes(format, height, width):
        shape = list(x.shape)
        shape[dim] = size
        out = x.new_empty(shape)
        for phase, taps in enumerate(enlarging_taps(factor, site)):
            target = out[_along(dim, phase, None, factor)]
            target.copy_(_filter(x, dim, taps, step=1, count=target.shape[dim]))
        x = out
    return x


def downsample(x: Tensor, format: FrameFormat, top: int, bottom: int) -> Tensor:
    """Chroma of luma rows ``top:bottom`` of ``x`` (..., H, W), at the sites of ``format``."""
    if format.subsampling[1] == 0:
        x = x[..., top:bottom, :]
    for dim, size, factor, site in _axes(format, bottom - top, x.shape[-1]):
        first = top if dim == -2 else 0
        taps, count = shrinking_taps(factor, site), -(-size // factor)
        x = _filter(x, dim, taps, step=factor, count=count, first=first)
    return x


def _axes(format: FrameFormat, height: int, width: int) -> list[tuple[int, int, int, float]]:
    """(dim, luma size, factor, site) of each subsampled axis."""
    rows, columns = sites(format)
    axes = (-2, height, *rows), (-1, width, *columns)
    return [axis for axis in axes if axis[2] > 1]


def sites(format: FrameFormat) -> tuple[tuple[int, float], tuple[int, float]]:
    """(factor, site) of rows and of columns of ``format``.

    A chroma sample stands for ``factor`` luma samples; its site is its distance from the first.
    """
    horizontal, vertical = (1 << log2 for log2 in format.subsampling)
    place = format.chroma_location or "left"
    return (
        (vertical, _VERTICAL.get(place, 0.5) * (vertical - 1)),
        (horizontal, _HORIZONTAL.get(place, 0.5) * (horizontal - 1)),
    )


@lru_cache
def enlarging_taps(factor: int, site: float) -> tuple[Taps, ...]:
    """For each of the luma samples 0 to ``factor`` - 1: (chroma index, weight) of its sum."""
    shift = ((factor - 1) / 2 - site) / factor
    rows = bicubic_weights(8, 8 * factor, shift=shift)[4 * factor : 5 * factor]
    return tuple(_taps(row, 4) for row in rows)


@lru_cache
def shrinking_taps(factor: int, site: float) -> Taps:
    """(luma index, weight) of the sum that makes chroma sample 0."""
    row = bicubic_weights(8 * factor, 8, shift=site - (factor - 1) / 2)[4]
    return _taps(row, 4 * factor)


def _taps(row: Tensor, origin: int) -> Taps:
    return tuple((i - origin, weight) for i, weight in enumerate(row.tolist()) if weight)


def _filter(x: Tensor, dim: int, taps: Taps, *, step: int, count: int, first: int = 0) -> Tensor:
    """``y[i] = sum of weight * x[first + step * i + index]`` over ``taps``, ``count`` of them."""
    last = first + step * (count - 1)
    before = max(-taps[0][0] - first, 0)
    x = _mirror(x, dim, before, max(last + taps[-1][0] + 1 - x.shape[dim], 0))
    first, last = first + before, last + before
    parts = [x[_along(dim, first + i, last + i + 1, step)] for i, _ in taps]
    total = parts[0] * taps[0][1]
    for part, (_, weight) in zip(parts[1:], taps[1:], strict=True):
        total.add_(part, alpha=weight)
    return total


def _along(dim: int, start: int, stop: int | None, step: int) -> tuple[EllipsisType | slice, ...]:
    """An index that slices the last (-1) or the last but one (-2) dimension."""
    return (..., slice(start, stop, step), *[slice(None)] * (-1 - dim))


def _mirror(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Pad ``x`` as ``... 1 0 | 0 1 ... n-1 | n-1 n-2 ...``, again and again where it is short."""
    if before == after == 0:
        return x
    size = x.shape[dim]
    head, tail = min(before, size), min(after, size)
    left, right = x.narrow(dim, 0, head), x.narrow(dim, size - tail, tail)
    x = torch.cat([left.flip(dim), x, right.flip(dim)], dim)
    return _mirror(x, dim, before - head, after - tail)
