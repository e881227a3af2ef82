"""A whole short clip as RGB pictures in memory."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lkdn_core.color import to_rgb
from lkdn_core.errors import LKDNError
from lkdn_media.decode import Damage, decode_pictures
from lkdn_media.formats import frame_format, nearest_planar
from lkdn_media.probe import probe

__all__ = ["read_clip"]


def read_clip(path: Path) -> Tensor:
    """All frames of a video file as float32 RGB (T, 3, H, W) in [0, 1]. Raises ``LKDNError``."""
    source = probe(path)
    format = frame_format(nearest_planar(source.pix_fmt), source.tags)
    damage = Damage()
    pictures = []
    for picture in decode_pictures(source, damage):
        planes = [torch.from_numpy(np.array(plane))[None] for plane in picture.planes]
        pictures.append(to_rgb(planes, format))
    if damage:
        raise LKDNError(f"{path}: {damage}")
    return torch.cat(pictures)
