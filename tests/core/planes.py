"""Planes for tests of colour conversion."""

import torch
from torch import Tensor

from lkdn_core.formats import FrameFormat


def samples(format: FrameFormat, height: int, width: int) -> list[Tensor]:
    """Two pictures, every code as likely as any other."""
    shapes = format.plane_shapes(width, height)
    if format.sample_type == "integer":
        codes = (torch.randint(0, 2**format.bits, (2, *shape)) for shape in shapes)
        return [plane.to(format.dtype) for plane in codes]
    middle = [0.5 * (format.family == "yuv" and i > 0) for i in range(len(shapes))]
    return [torch.rand(2, *shape) - m for shape, m in zip(shapes, middle, strict=True)]


def framed(planes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Views as large as ``planes`` inside larger planes of ones, and the larger planes."""
    wide = [p.new_ones(len(p), p.shape[1] + 2, p.shape[2] + 5) for p in planes]
    return [p[:, 1:-1, 2:-3] for p in wide], wide
