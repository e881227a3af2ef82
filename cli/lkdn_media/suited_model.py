"""The network for a video where none is asked for."""

from typing import Final

import av

from lkdn_core.models import DEFAULT_MODEL, VIDEO_MODEL
from lkdn_media.source import Source

__all__ = ["suited_model"]

#: Most lossy codecs of single pictures are for editing, and fine; so are two that aren't marked
#: as such, while these are as coarse as any.
_FINE: Final = ("cfhd", "dirac")
_COARSE: Final = ("mjpeg", "mjpegb", "dvvideo")


def suited_model(source: Source) -> str:
    """The name of a model for ``source``, by its codec.

    Lossy codecs leave blocks and ringing at usual rates; lossless ones and those for editing
    don't. What comes as bare samples or picture files may be anything, and is taken for clean.
    """
    if source.opener is not None:
        return DEFAULT_MODEL
    codec, name = av.Codec(source.decoder, "r"), source.stream.codec
    fine = name in _FINE or (codec.intra_only and name not in _COARSE)
    return VIDEO_MODEL if codec.lossy and not fine else DEFAULT_MODEL
