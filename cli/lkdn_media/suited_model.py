"""The network for a video or a picture where none is asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import av

from lkdn_core.models import DEFAULT_MODEL, VIDEO_MODEL
from lkdn_media.fineness import fineness, fineness_of_still
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.source import Source

if TYPE_CHECKING:
    from lkdn_media.images import Still

__all__ = ["suited_model", "suited_to_still"]

#: Most lossy codecs of single pictures are for editing, and fine; so are two that aren't marked
#: as such, while these are as coarse as any.
_FINE: Final = ("cfhd", "dirac")
_COARSE: Final = ("mjpeg", "mjpegb", "dvvideo")
#: ``denoise`` by the least `fineness`, as it was best for PSNR and VMAF of clips, and for PSNR of
#: pictures, which are all as fine as a keyframe. JPEG takes more bytes than others for as much. 0
#: is the clean network itself.
_FOR_VIDEO: Final = ((1.5, 0.5), (0.8, 0.75))
_FOR_JPEG: Final = ((3.2, 0.0), (2.4, 0.25), (1.9, 0.5), (1.35, 0.75))
_FOR_PICTURES: Final = ((2.5, 0.0), (1.7, 0.25), (1.2, 0.5), (0.75, 0.75))


def suited_model(source: Source) -> NetworkChoice:
    """The network for ``source``, by its codec and by how finely that was set.

    Lossy codecs leave blocks and ringing at usual rates, and at high ones little of them; lossless
    codecs and those for editing leave none. Bare samples may be anything, and are taken for clean.
    """
    codec, name = av.Codec(source.decoder, "r"), source.stream.codec
    fine = name in _FINE or (codec.intra_only and name not in _COARSE)
    if fine or not codec.lossy:
        return NetworkChoice(DEFAULT_MODEL)
    strengths = _FOR_JPEG if codec.intra_only else _FOR_VIDEO
    return _by_fineness(fineness(source) or 0, strengths)


def suited_to_still(still: "Still") -> NetworkChoice:
    """The network for a picture, by how finely its file was compressed."""
    measured = fineness_of_still(still)
    if measured is None:
        return NetworkChoice(DEFAULT_MODEL)
    return _by_fineness(measured, _FOR_JPEG if still.codec == "jpeg" else _FOR_PICTURES)


def _by_fineness(measured: float, strengths: Sequence[tuple[float, float]]) -> NetworkChoice:
    for least, strength in strengths:
        if measured >= least:
            return NetworkChoice(DEFAULT_MODEL, denoise=strength or None)
    return NetworkChoice(VIDEO_MODEL)
