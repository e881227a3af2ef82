"""Pictures through the engine, with gray and transparency."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lkdn_core import Upscaler
from lkdn_core.progress import Progress, portion
from lkdn_core.resize import FinalSize
from lkdn_media.alpha import enlarge_alpha, fill_hidden_planes
from lkdn_media.images import Still
from lkdn_media.parts import enlarge_parts

__all__ = ["enlarge_stills"]


def enlarge_stills(
    stills: Sequence[Still],
    upscaler: Upscaler,
    *,
    deep: bool,
    size: FinalSize | None = None,
    progress: Progress | None = None,
) -> list[Still]:
    """Enlarge pictures of one size and kind, all in one batch, or to ``size``, after the network.

    Gray goes through the network as a gray picture. Of transparency see `lkdn_media.alpha`.
    16-bit pictures stay so if ``deep``, else they become 8-bit ones.
    ``progress``: as of `Upscaler.up`.
    """
    first = stills[0]
    pixels = np.stack([still.pixels for still in stills])  # (N, H, W, C)
    bits = first.bits if deep else 8
    planes = [pixels[..., i] for i in range(pixels.shape[-1])]
    alpha = planes.pop() if first.has_alpha else None
    if alpha is not None:
        planes = fill_hidden_planes(planes, alpha, bits=first.bits)
    once = alpha is None or alpha.min() == alpha.max()
    half = 1 if once else 0.5  # of the work
    shares = portion(progress, 0, half), portion(progress, half, 1)
    new = enlarge_parts(planes, first.bits, bits, upscaler, size=size, progress=shares[0])
    if alpha is not None:
        new.append(enlarge_alpha(alpha, first.bits, bits, upscaler, size=size, progress=shares[1]))
    return [
        replace(still, pixels=np.stack([plane[i] for plane in new], 2))
        for i, still in enumerate(stills)
    ]
