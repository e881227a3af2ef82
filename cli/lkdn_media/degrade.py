"""Small pictures as real video has them: blurred, noisy, subsampled and compressed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.quantize import quantize
from lkdn_core.resize import resize
from lkdn_media.compress import compress

__all__ = ["LENGTH", "Degradation", "degrade", "draw", "moving", "shrink", "soften"]

#: Pictures in a sequence; the middle one is used.
LENGTH: Final = 7
#: Fastest motion, in large pixels a picture and axis.
SPEED: Final = 4
#: How often each codec is drawn, and its finest and coarsest quality (crf, or quantiser).
_CODECS: Final = {
    "libx264": (0.5, 16, 33),
    "libx265": (0.2, 18, 34),
    "mpeg2video": (0.15, 2, 8),
    "mjpeg": (0.05, 2, 8),
    "": (0.1, 0, 0),
}
_PRESETS: Final = {"libx264": ("veryfast", "medium"), "libx265": ("superfast", "veryfast")}


@dataclass(frozen=True, slots=True)
class Degradation:
    """What is done to a sequence of small pictures.

    ``blur``: standard deviation in small pixels, 0 for none. ``noise``: in 8-bit codes. ``codec``
    and ``options`` as for `compress`, which always subsamples chroma.
    """

    blur: float = 0.0
    noise: float = 0.0
    codec: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def draw(random: np.random.Generator) -> Degradation:
    """A degradation as often as such video is met, from hardly visible to bad."""
    blur = random.uniform(0.3, 0.8) if random.random() < 0.2 else 0.0
    noise = random.uniform(0.0, 3.0) if random.random() < 0.3 else 0.0
    codec = str(random.choice(list(_CODECS), p=[chance for chance, _, _ in _CODECS.values()]))
    _, best, worst = _CODECS[codec]
    quality = str(random.integers(best, worst + 1))
    options = {"crf": quality} if codec in _PRESETS else {"qmin": quality, "qmax": quality}
    if codec in _PRESETS:
        options["preset"] = str(random.choice(_PRESETS[codec]))
    return Degradation(blur, noise, codec, options if codec else {})


def soften(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """``pictures`` (T, 3, H, W) as a lens out of focus leaves them, which most films are somewhere.

    Blurred by 0.5 to 1.5 large pixels. As the target beside its own small versions: what was soft
    before it was made small is not to be made sharper than it was.
    """
    return _blur(pictures, random.uniform(0.5, 1.5))


def degrade(pictures: Tensor, how: Degradation, random: np.random.Generator) -> Tensor:
    """The middle of a sequence of small pictures, as it comes out of a decoder.

    ``pictures`` (T, 3, H, W) RGB in [0, 1], H and W even; returns (3, H, W) uint8.
    """
    if how.blur:
        pictures = _blur(pictures, how.blur)
    if how.noise:
        noise = random.standard_normal(tuple(pictures.shape), np.float32)
        pictures = pictures + torch.from_numpy(noise) * (how.noise / 255)
    decoded = compress(pictures, codec=how.codec, options=how.options)
    return quantize(decoded[len(pictures) // 2] * 255, bits=8)


def moving(picture: Tensor, random: np.random.Generator) -> Tensor:
    """A sequence (LENGTH, 3, H, W) that pans over ``picture`` (3, H, W); its middle is the picture.

    Motion is uniform, a whole number of large pixels a frame, so fractions of a small one; one
    sequence in four stands still. Beyond the border the picture is mirrored.
    """
    reach = SPEED * (LENGTH // 2)
    speed = random.integers(-SPEED, SPEED + 1, 2) * (random.random() >= 0.25)
    wide = F.pad(picture[None], [reach] * 4, mode="reflect")[0]
    _, height, width = picture.shape
    places = [reach + speed * (i - LENGTH // 2) for i in range(LENGTH)]
    return torch.stack([wide[:, y : y + height, x : x + width] for y, x in places])


def shrink(pictures: Tensor, scale: int) -> Tensor:
    """``pictures`` (T, 3, H, W) made ``scale`` times smaller by antialiased bicubic, clipped."""
    height, width = pictures.shape[-2] // scale, pictures.shape[-1] // scale
    return resize(pictures, height, width).clamp(0, 1)


def _blur(pictures: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1)
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    line = line / line.sum()
    for axis, edge in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        wide, size = F.pad(pictures, edge, mode="replicate"), pictures.shape[axis]
        pictures = sum(
            (w * wide.narrow(axis, i, size) for i, w in enumerate(line)), start=torch.zeros(())
        )
    return pictures
