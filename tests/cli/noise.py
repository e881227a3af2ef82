"""Pictures of noise, and what the network of `nearest` makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pixels", "noise", "twice"]

Pixels = NDArray[Any]  # (H, W, C)


def noise(channels: int, dtype: type = np.uint8, size: tuple[int, int] = (11, 13)) -> Pixels:
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels), dtype)


def twice(pixels: Pixels) -> Pixels:
    return pixels.repeat(2, 0).repeat(2, 1)
