"""Pictures in every format, and how near two are."""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from lkdn_core.formats import CHROMA_LOCATIONS, FrameFormat

DEPTHS: Final[list[Any]] = [
    ("integer", 8),
    ("integer", 10),
    ("integer", 16),
    ("float", 16),
    ("float", 32),
]
YUV420P10: Final = FrameFormat(family="yuv", bits=10, subsampling=(1, 1))
SUBSAMPLED: Final = [(1, 0), (1, 1), (0, 1), (2, 0), (2, 2)]


def sitings() -> list[dict[str, Any]]:
    """Every subsampling with every chroma location that makes a difference to it."""
    places = {(1, 0): ("left", "center"), (2, 0): ("left", "center"), (0, 1): ("left", "top")}
    return [{"subsampling": (0, 0)}] + [
        {"subsampling": subsampling, "chroma_location": location}
        for subsampling in SUBSAMPLED
        for location in places.get(subsampling, CHROMA_LOCATIONS.values())
    ]


def frames(count: int, height: int = 23, width: int = 29) -> list[list[np.ndarray]]:
    """Planes (h, w) of so many frames of ``YUV420P10``, of legal codes."""
    random = np.random.default_rng(5)
    shapes = YUV420P10.plane_shapes(width, height)
    return [[random.integers(64, 940, s).astype(np.uint16) for s in shapes] for _ in range(count)]


def random_planes(format: FrameFormat, width: int, height: int, batch: int = 1) -> list[Tensor]:
    """Every code of the format, legal or not."""
    generator = torch.Generator().manual_seed(1)
    planes = []
    for index, (h, w) in enumerate(format.plane_shapes(width, height)):
        x = torch.rand(batch, h, w, generator=generator)
        if format.sample_type == "integer":
            planes.append((x * (2**format.bits - 1)).round().to(format.dtype))
        else:
            planes.append((x - 0.5 * (index > 0 and format.family == "yuv")).to(format.dtype))
    return planes


def random_rgb(width: int, height: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def framed(planes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Views as large as ``planes`` inside larger planes of ones, and the larger planes."""
    wide = [p.new_ones(len(p), p.shape[1] + 2, p.shape[2] + 5) for p in planes]
    return [p[:, 1:-1, 2:-3] for p in wide], wide


def agreement(a: Tensor, b: Tensor) -> float:
    """PSNR in dB of two pictures in [0, 1]."""
    return float(-10 * (a.clamp(0, 1) - b.clamp(0, 1)).double().square().mean().log10())
