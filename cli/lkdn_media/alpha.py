"""Transparency, enlarged like the picture it belongs to."""

import numpy as np
import torch
from numpy.typing import NDArray

from lkdn_core import FrameFormat, Upscaler
from lkdn_media.formats import PLANAR
from lkdn_media.plan import Plan

__all__ = ["enlarge_alpha"]


def enlarge_alpha(
    alpha: NDArray[np.integer], plan: Plan, upscaler: Upscaler
) -> NDArray[np.integer]:
    """The alpha plane (h, w) of a picture of ``plan.source`` for the picture that is written.

    It goes through the same network as a gray picture of full range, so that its edges lie where
    those of the colours do; a constant one, which most are, does not have to.
    """
    depth, new = PLANAR[plan.source.layout].bits, plan.output_format.bits
    if alpha.min() == alpha.max():
        size = plan.size
        height, width = (side * plan.scale for side in alpha.shape)
        shape = (height, width) if size is None else (size.height, size.width)
        most = (1 << depth) - 1
        value = round(int(alpha.flat[0]) * ((1 << new) - 1) / most)
        return np.full(shape, value, np.uint8 if new == 8 else np.uint16)
    planes = upscaler.up_planes(
        [torch.from_numpy(np.ascontiguousarray(alpha))[None]],
        FrameFormat(family="gray", bits=depth, color_range="full"),
        out_format=FrameFormat(family="gray", bits=new, color_range="full"),
        size=plan.size,
    )
    return planes[0][0].numpy()
