"""The encoders one can choose, and which of them work here."""

from collections.abc import Iterator
from dataclasses import dataclass

import av

from lkdn_core.errors import ArgumentError
from lkdn_media.encoders import CONTAINERS, encoder_pix_fmt, find_encoder, holds, opens
from lkdn_media.ffmpeg import find_ffmpeg
from lkdn_media.ffmpeg_codecs import list_codecs
from lkdn_media.formats import PLANAR

__all__ = ["EncoderInfo", "list_encoders", "list_own_encoders"]


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """An encoder. ``endings``: of files that hold what it writes; ``opens``: here."""

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
            yield EncoderInfo(name, encoder.long_name, endings, opens(name, pix_fmt))


def list_own_encoders() -> Iterator[EncoderInfo]:
    """The encoders that only the user's own ffmpeg has; none where there is no such program."""
    try:
        program = find_ffmpeg(None, needed_by="the list")
    except ArgumentError:
        return
    for name, codec, description in list_codecs(program):
        endings = tuple(e for e, container in CONTAINERS.items() if holds(container, codec))
        if endings and name not in av.codecs_available:
            yield EncoderInfo(name, description, endings, True)
