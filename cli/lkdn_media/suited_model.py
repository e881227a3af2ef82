"""The network for a video where none is asked for."""

from typing import Final, NamedTuple

import av

from lkdn_core.models import DEFAULT_MODEL, VIDEO_MODEL
from lkdn_media.fineness import fineness
from lkdn_media.source import Source

__all__ = ["SuitedModel", "suited_model"]

#: Most lossy codecs of single pictures are for editing, and fine; so are two that aren't marked
#: as such, while these are as coarse as any.
_FINE: Final = ("cfhd", "dirac")
_COARSE: Final = ("mjpeg", "mjpegb", "dvvideo")
#: ``denoise`` by the least `fineness`, as bench/video_quality.py found it best.
_STRENGTHS: Final = ((1.5, 0.5), (0.8, 0.75))


class SuitedModel(NamedTuple):
    """A network as `load_model` takes it."""

    model: str
    denoise: float | None = None


def suited_model(source: Source) -> SuitedModel:
    """The network for ``source``, by its codec and by how finely that was set.

    Lossy codecs leave blocks and ringing at usual rates, and at high ones little of them; lossless
    codecs and those for editing leave none. What comes as bare samples or picture files may be
    anything, and is taken for clean.
    """
    if source.opener is not None:
        return SuitedModel(DEFAULT_MODEL)
    codec, name = av.Codec(source.decoder, "r"), source.stream.codec
    fine = name in _FINE or (codec.intra_only and name not in _COARSE)
    if fine or not codec.lossy:
        return SuitedModel(DEFAULT_MODEL)
    measured = fineness(source) or 0
    for least, strength in _STRENGTHS:
        if measured >= least:
            return SuitedModel(DEFAULT_MODEL, strength)
    return SuitedModel(VIDEO_MODEL)
