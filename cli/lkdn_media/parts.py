"""Planes of full range through the engine, also those whose new size is beyond memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lkdn_core import FrameFormat, Upscaler
from lkdn_core.progress import Progress, portion
from lkdn_core.quantize import quantize
from lkdn_core.resize import FinalSize
from lkdn_core.tiling import fit_grid, plan_tiles

__all__ = ["enlarge_parts", "resize_plane"]

#: New pixels made at once; more are made part by part, since each takes some 40 bytes on the way.
PART_PIXELS: Final = 2**25


def enlarge_parts(
    planes: Sequence[NDArray[Any]],
    bits: int,
    new_bits: int,
    upscaler: Upscaler,
    *,
    size: FinalSize | None = None,
    progress: Progress | None = None,
) -> list[NDArray[Any]]:
    """Enlarge planes (N, H, W) of full range: three of RGB or one of gray.

    They get ``size`` before they are rounded; what is made part by part has 16 bits by then.
    ``progress``: as of `Upscaler.up`.
    """
    s, (count, height, width) = upscaler.scale, planes[0].shape
    source = FrameFormat(
        family="rgb" if len(planes) == 3 else "gray",
        bits=bits,
        matrix=None if len(planes) == 3 else "bt709",
        color_range="full",
    )
    target = replace(source, bits=new_bits)
    area = max(PART_PIXELS // (count * s * s), (4 * upscaler.overlap + 1) ** 2)
    overlap = upscaler.overlap
    grid = fit_grid(height, width, fits=lambda tall, wide: tall * wide <= area, overlap=overlap)
    rows, columns = grid or (1, 1)
    if rows == columns == 1:
        whole = [torch.from_numpy(np.ascontiguousarray(plane)) for plane in planes]
        new = upscaler.up_planes(whole, source, out_format=target, size=size, progress=progress)
        return [plane.numpy() for plane in new]
    if size is not None:
        large = enlarge_parts(planes, bits, 16, upscaler, progress=progress)
        return [resize_plane(plane, size, bits=16, new_bits=new_bits) for plane in large]
    dtype = np.uint8 if new_bits == 8 else np.uint16
    large = [np.empty((count, height * s, width * s), dtype) for _ in planes]
    tiles = plan_tiles(height, width, rows=rows, columns=columns, overlap=overlap)
    for number, t in enumerate(tiles):
        share = portion(progress, number / len(tiles), (number + 1) / len(tiles))
        window = [
            torch.from_numpy(np.ascontiguousarray(plane[:, t.y0 : t.y1, t.x0 : t.x1]))
            for plane in planes
        ]
        for done, out in zip(
            upscaler.up_planes(window, source, out_format=target, progress=share),
            large,
            strict=True,
        ):
            out[:, *t.place(s)] = done[:, *t.inner(s)].numpy()
    return large


def resize_plane(
    plane: NDArray[Any],
    size: FinalSize,
    *,
    bits: int,
    new_bits: int,
    device: torch.device | str = "cpu",
) -> NDArray[Any]:
    """A plane (N, H, W) of integers of ``bits`` as one of ``size``, of ``new_bits``."""
    codes = torch.from_numpy(plane).to(device).float()
    new = size.apply(codes[:, None])[:, 0] * ((2**new_bits - 1) / (2**bits - 1))
    return quantize(new, bits=new_bits).cpu().numpy()
