"""The encoders one can choose, and which of them work here."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_options import encoder_options
from lkdn_media.encoders import CONTAINERS, EncoderChoice, encoder_pix_fmt, find_encoder, holds
from lkdn_media.formats import PLANAR

__all__ = ["EncoderInfo", "list_encoders"]

#: A size that every encoder takes, H.263 and DNxHR among them.
_TRIAL_SIZE: Final = (352, 288)


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An encoder of this PyAV. ``endings``: of files that hold what it writes; ``opens``: here."""

    name: str
    description: str
    endings: tuple[str, ...]
    opens: bool


def list_encoders() -> Iterator[EncoderInfo]:
    """The encoders that take our pictures and fit into a container, by name, each tried out."""
    for name in sorted(av.codecs_available):
        try:
            encoder = find_encoder(name)
            pix_fmt = encoder_pix_fmt(encoder.name, PLANAR["yuv420p"], "auto")
        except ArgumentError:
            continue
        endings = tuple(e for e, container in CONTAINERS.items() if holds(container, name))
        if endings and encoder.name == name:  # else a codec's name, not an encoder's
            yield EncoderInfo(name, encoder.long_name, endings, _opens(name, pix_fmt))


def _opens(codec: str, pix_fmt: str) -> bool:
    """Whether ``codec`` starts here; those of graphics cards need the card and its driver."""
    width, height = _TRIAL_SIZE
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = encoder_options(
        codec,
        EncoderChoice(),
        pix_fmt=pix_fmt,
        width=width,
        mastering_display=b"",
        content_light=b"",
    )
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True
