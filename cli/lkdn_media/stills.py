"""Pictures through the engine: gray, transparency, and sizes beyond memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lkdn_core import FrameFormat, Upscaler
from lkdn_core.quantize import quantize
from lkdn_core.tiling import fit_grid, plan_tiles
from lkdn_media.images import Still

__all__ = ["enlarge_stills"]

#: New pixels made at once; more are made part by part, since each takes some 40 bytes on the way.
PART_PIXELS: Final = 2**25


def enlarge_stills(stills: Sequence[Still], upscaler: Upscaler, *, deep: bool) -> list[Still]:
    """Enlarge pictures of one size and kind, all in one batch.

    Gray and alpha go through the network as gray pictures. Colour under fully transparent pixels
    is first replaced by that of the nearest visible ones, so that it does not bleed into the edges;
    alpha stays within what its neighbourhood in the source has, so that flat parts don't change.
    16-bit pictures stay so if ``deep``, else they become 8-bit ones.
    """
    first = stills[0]
    pixels = np.stack([still.pixels for still in stills])  # (N, H, W, C)
    bits = first.bits if deep else 8
    alpha = pixels[..., -1] if first.has_alpha else None
    colours = pixels.shape[-1] - first.has_alpha
    if alpha is not None and not alpha.all():
        pixels = np.stack([_bled(picture) for picture in pixels])
    new = _enlarge([pixels[..., i] for i in range(colours)], first.bits, bits, upscaler)
    if alpha is not None:
        new.append(_enlarge_alpha(alpha, first.bits, bits, upscaler))
    return [
        replace(still, pixels=np.stack([plane[i] for plane in new], 2))
        for i, still in enumerate(stills)
    ]


def _enlarge(
    planes: Sequence[NDArray[Any]], bits: int, new_bits: int, upscaler: Upscaler
) -> list[NDArray[Any]]:
    """Planes (N, H, W) of full range: three of RGB or one of gray."""
    s, (count, height, width) = upscaler.scale, planes[0].shape
    source = FrameFormat(
        family="rgb" if len(planes) == 3 else "gray",
        bits=bits,
        matrix=None if len(planes) == 3 else "bt709",
        color_range="full",
    )
    target = replace(source, bits=new_bits)
    dtype = np.uint8 if new_bits == 8 else np.uint16
    new = [np.empty((count, height * s, width * s), dtype) for _ in planes]
    area = max(PART_PIXELS // (count * s * s), (4 * upscaler.overlap + 1) ** 2)
    overlap = upscaler.overlap
    grid = fit_grid(height, width, fits=lambda tall, wide: tall * wide <= area, overlap=overlap)
    rows, columns = grid or (1, 1)
    for t in plan_tiles(height, width, rows=rows, columns=columns, overlap=overlap):
        window = [
            torch.from_numpy(np.ascontiguousarray(plane[:, t.y0 : t.y1, t.x0 : t.x1]))
            for plane in planes
        ]
        top, left = (t.top - t.y0) * s, (t.left - t.x0) * s
        tall, wide = (t.bottom - t.top) * s, (t.right - t.left) * s
        for done, out in zip(
            upscaler.up_planes(window, source, out_format=target), new, strict=True
        ):
            part = done[:, top : top + tall, left : left + wide].numpy()
            out[:, t.top * s : t.bottom * s, t.left * s : t.right * s] = part
    return new


def _enlarge_alpha(
    alpha: NDArray[Any], bits: int, new_bits: int, upscaler: Upscaler
) -> NDArray[Any]:
    """Alpha (N, H, W), clipped to what the 3x3 pixels around each have in the source."""
    s, scale = upscaler.scale, (2**new_bits - 1) / (2**bits - 1)
    least, most = int(alpha.min()), int(alpha.max())
    if least == most:
        count, height, width = alpha.shape
        dtype = np.uint8 if new_bits == 8 else np.uint16
        return np.full((count, height * s, width * s), round(least * scale), dtype)
    (new,) = _enlarge([alpha], bits, new_bits, upscaler)
    around = torch.from_numpy(alpha.astype(np.float32))[:, None]
    most_around = F.max_pool2d(around, 3, 1, 1)
    least_around = -F.max_pool2d(-around, 3, 1, 1)
    for function, limits in ((np.minimum, most_around), (np.maximum, least_around)):
        limit = quantize(limits[:, 0] * scale, bits=new_bits).numpy()
        for row in range(s):
            for column in range(s):
                here = new[:, row::s, column::s]
                function(here, limit, out=here)
    return new


def _bled(picture: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) whose last channel is alpha, with colour spread over fully transparent pixels."""
    values = torch.from_numpy(picture.astype(np.float32)).movedim(-1, 0)  # (C, H, W)
    visible = (values[-1:] > 0).float()
    if not visible.any():
        return picture
    spread = quantize(_spread(values[:-1], visible), bits=picture.itemsize * 8)
    colour = spread.movedim(0, -1).numpy()
    return np.concatenate([colour, picture[..., -1:]], -1)


def _spread(colour: Tensor, known: Tensor) -> Tensor:
    """``colour`` (C, H, W) with gaps, where ``known`` (1, H, W) is 0, filled from smaller copies.

    Each copy is the mean of the known pixels of 2x2; it is filled itself by a still smaller one.
    """
    height, width = known.shape[1:]
    if known.all() or height == width == 1:
        return colour
    share = _halved(known)
    # One of four pixels known is the least share but none.
    small = _spread(_halved(colour * known) / share.clamp(min=0.25), (share > 0).float())
    filled = F.interpolate(small[None], (height, width), mode="bilinear", align_corners=False)[0]
    return torch.where(known > 0, colour, filled)


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
