"""Decoded pictures as RGB."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lkdn_core.color import to_rgb
from lkdn_core.errors import LKDNError
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.planes import Picture
from lkdn_media.probe import probe
from lkdn_media.source import Source

__all__ = ["read_clip", "rgb_of"]


def read_clip(path: Path) -> Iterator[Tensor]:
    """The frames of a video file as float32 RGB (1, 3, H, W) in [0, 1].

    Raises ``LKDNError``, for damage at the end.
    """
    source, damage = probe(path), Damage()
    for picture in decode_pictures(source, damage):
        yield rgb_of(picture, source)
    if damage:
        raise LKDNError(f"{path}: {damage}")


def rgb_of(picture: Picture, source: Source) -> Tensor:
    """One picture of ``source`` as float32 RGB (1, 3, H, W) in [0, 1], without its alpha."""
    planes = [torch.from_numpy(np.array(plane))[None] for plane in picture.planes]
    return to_rgb(planes, source.format)
