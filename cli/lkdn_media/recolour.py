"""Pictures in the matrix and range of others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lkdn_core import FrameFormat

__all__ = ["recoloured"]


def recoloured(
    planes: Sequence[NDArray[Any]], old: FrameFormat, new: FrameFormat
) -> list[NDArray[Any]]:
    """``planes`` (h, w) of a picture in ``old``, in ``new``, which differ in matrix and range.

    They go through RGB with headroom, so that nothing is clipped that both have room for. New
    chroma is made of chroma alone, so it keeps its size all the way, and with it all detail.
    """
    made = _through_rgb(planes, old, new)
    across, down = (1 << shift for shift in old.subsampling)
    if across == down == 1:
        return made
    small = [planes[0][::down, ::across], *planes[1:]]
    alone = [replace(it, subsampling=(0, 0), chroma_location=None) for it in (old, new)]
    return [made[0], *_through_rgb(small, *alone)[1:]]


def _through_rgb(
    planes: Sequence[NDArray[Any]], old: FrameFormat, new: FrameFormat
) -> list[NDArray[Any]]:
    import torch  # here, so that planning needs none of it

    from lkdn_core.color import from_rgb, to_rgb

    picture = [torch.from_numpy(np.ascontiguousarray(plane))[None] for plane in planes]
    rgb = to_rgb(picture, replace(old, headroom=True), dtype=torch.float32)
    return [plane[0].numpy() for plane in from_rgb(rgb, replace(new, headroom=True))]
