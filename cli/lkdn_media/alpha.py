"""Transparency, of pictures and videos alike, and the colours it hides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lkdn_core import Upscaler
from lkdn_core.progress import Progress
from lkdn_core.quantize import quantize
from lkdn_core.resize import FinalSize
from lkdn_media.parts import enlarge_parts, resize_plane

__all__ = ["enlarge_alpha", "fill_hidden", "fill_hidden_planes", "limits_around"]


def enlarge_alpha(
    alpha: NDArray[Any],
    bits: int,
    new_bits: int,
    upscaler: Upscaler,
    *,
    size: FinalSize | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Alpha (N, H, W), enlarged, or of ``size``, which it gets after the network.

    It goes through the same network as a gray picture of full range, so that its edges lie where
    those of the colours do, and is clipped to what the 3x3 pixels around each have in the source,
    so that flat parts don't change. A constant one, which most are, does not have to.
    ``progress``: as of `Upscaler.up`.
    """
    count, height, width = alpha.shape
    scale = (2**new_bits - 1) / (2**bits - 1)
    least, most = int(alpha.min()), int(alpha.max())
    if least == most:
        tall, wide = (side * upscaler.scale for side in (height, width))
        shape = (tall, wide) if size is None else (size.height, size.width)
        return np.full((count, *shape), round(least * scale), _dtype(new_bits))
    (new,) = enlarge_parts([alpha], bits, new_bits, upscaler, progress=progress)
    _clip_to_source(new, alpha, scale, new_bits, upscaler.scale)
    if size is None:
        return new
    return resize_plane(new, size, bits=new_bits, new_bits=new_bits, device=upscaler.device)


def fill_hidden_planes(
    planes: Sequence[NDArray[Any]], alpha: NDArray[Any], *, bits: int
) -> list[NDArray[Any]]:
    """`fill_hidden` for planes (N, H, W) of integers, which may be subsampled.

    A sample counts as hidden where all pixels it covers have an ``alpha`` (N, H, W) of 0.
    """
    if alpha.all():
        return list(planes)
    visible = torch.from_numpy(alpha > 0).float()[:, None]
    filled = []
    for plane in planes:
        step = [-(-a // b) for a, b in zip(alpha.shape[1:], plane.shape[1:], strict=True)]
        known = F.max_pool2d(visible, step, ceil_mode=True)
        values = torch.from_numpy(plane.astype(np.float32))[:, None]
        filled.append(quantize(fill_hidden(values, known), bits=bits)[:, 0].numpy())
    return filled


def fill_hidden(colours: Tensor, visible: Tensor) -> Tensor:
    """``colours`` (N, C, H, W) with those of what is near where ``visible`` (N, 1, H, W) is 0.

    Elsewhere it is 1. What nobody sees would bleed into the edges of what is visible. A picture
    that is hidden wholly stays.
    """
    return _spread(colours, torch.where(visible.amax((2, 3), keepdim=True) > 0, visible, 1.0))


def limits_around(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the most that the 3x3 pixels around each have in ``alpha`` (N, H, W)."""
    around = alpha[:, None]
    return -F.max_pool2d(-around, 3, 1, 1)[:, 0], F.max_pool2d(around, 3, 1, 1)[:, 0]


def _dtype(bits: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if bits == 8 else np.uint16


def _clip_to_source(
    new: NDArray[Any], alpha: NDArray[Any], scale: float, bits: int, times: int
) -> None:
    """Clip ``new``, ``times`` as large as ``alpha``, in place."""
    limits = limits_around(torch.from_numpy(alpha.astype(np.float32)))
    for function, found in zip((np.maximum, np.minimum), limits, strict=True):
        limit = quantize(found * scale, bits=bits).numpy()
        for row in range(times):
            for column in range(times):
                here = new[:, row::times, column::times]
                function(here, limit, out=here)


def _spread(colour: Tensor, known: Tensor) -> Tensor:
    """``colour`` (N, C, H, W) with gaps, where ``known`` is 0, filled from smaller copies.

    Each copy is the mean of the known pixels of 2x2; it is filled itself by a still smaller one.
    """
    height, width = known.shape[2:]
    if known.all() or height == width == 1:
        return colour
    share = _halved(known)
    # One of four pixels known is the least share but none.
    small = _spread(_halved(colour * known) / share.clamp(min=0.25), (share > 0).float())
    filled = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    return torch.where(known > 0, colour, filled)


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
