"""Frames <-> planes, alpha as the last one; and what a decoded picture carries beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from lkdn_media.formats import PLANAR, repacked
from lkdn_media.side_data import progressive
from lkdn_media.source import Crop

__all__ = ["Picture", "Planes", "cut_planes", "fill_planes", "is_transparent", "planes_of"]

#: One array (H, W) per plane, uint8 or uint16, in the core's order.
Planes = Sequence[NDArray[Any]]
#: The core's R, G, B among FFmpeg's planes G, B, R.
_GBR_ORDER: Final = (2, 0, 1)
#: Which planes may be subsampled.
_CHROMA: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class Picture:
    """Planes, with ``pts`` and ``duration`` (0: not known), in the last filter's time base.

    ``alpha``: a plane of its own, where the source has it. ``carrier``: the frame it was decoded
    as, where that has more to hand on: closed captions. ``unkept``: what else it carries that can't
    be handed on.
    """

    planes: Planes
    pts: int
    duration: int
    alpha: NDArray[Any] | None = None
    carrier: av.VideoFrame | None = None
    unkept: Sequence[str] = ()


def planes_of(frame: av.VideoFrame, layout: str) -> Planes:
    """The planes of ``frame`` in ``layout``, one of `PLANAR`; views of its memory, no copies."""
    if frame.format.name.replace("yuvj", "yuv") != layout:
        # Told of fields, libswscale loses rows of big-endian samples, or writes beside them.
        frame = repacked(progressive(frame), layout)
    return [rows[:, :width] for rows, width in _memory(frame, layout)]


def cut_planes(planes: Planes, crop: Crop, layout: str) -> Planes:
    """``planes`` in ``layout`` without the edges that ``crop`` cuts off; views, no copies.

    ``left`` and ``top`` must be whole chroma samples.
    """
    if not crop:
        return planes
    height, width = planes[0].shape
    bottom, right = height - crop.bottom, width - crop.right
    found = []
    for number, plane in enumerate(planes):
        x, y = PLANAR[layout].subsampling if number in _CHROMA else (0, 0)
        found.append(plane[crop.top >> y : -(-bottom >> y), crop.left >> x : -(-right >> x)])
    return found


def fill_planes(frame: av.VideoFrame, planes: Planes, layout: str) -> None:
    """Write ``planes`` into ``frame``, which is in ``layout``; edges are repeated to fill it."""
    for (rows, wide), values in zip(_memory(frame, layout), planes, strict=True):
        height, width = values.shape
        rows[:height, :width] = values
        rows[:height, width:wide] = values[:, -1:]
        rows[height:] = rows[height - 1]


def is_transparent(frame: av.VideoFrame, layout: str) -> bool:
    """Whether some pixel of ``frame`` lets something shine through. ``layout`` has alpha."""
    alpha = planes_of(frame, layout)[-1]
    return bool(alpha.min() < (1 << PLANAR[layout].bits) - 1)


def _memory(frame: av.VideoFrame, layout: str) -> list[tuple[NDArray[Any], int]]:
    """The rows of each plane with what lies behind them, and how many samples count."""
    dtype = np.uint8 if PLANAR[layout].bits == 8 else np.uint16
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        found.append((rows[::-1] if plane.line_size < 0 else rows, plane.width))
    if PLANAR[layout].family == "rgb":
        return [found[i] for i in _GBR_ORDER] + found[3:]
    if layout.startswith("ya"):  # gray and alpha take turns
        rows, width = found[0]
        return [(rows[:, i::2], width) for i in range(2)]
    return found
