"""Planes of full range through the engine, also those whose new size is beyond memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lkdn_core import FrameFormat, Upscaler
from lkdn_core.tiling import fit_grid, plan_tiles

__all__ = ["enlarge_parts"]

#: New pixels made at once; more are made part by part, since each takes some 40 bytes on the way.
PART_PIXELS: Final = 2**25


def enlarge_parts(
    planes: Sequence[NDArray[Any]], bits: int, new_bits: int, upscaler: Upscaler
) -> list[NDArray[Any]]:
    """Enlarge planes (N, H, W) of full range: three of RGB or one of gray."""
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
        for done, out in zip(
            upscaler.up_planes(window, source, out_format=target), new, strict=True
        ):
            out[:, *t.place(s)] = done[:, *t.inner(s)].numpy()
    return new
