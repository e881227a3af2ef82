"""Which encoder writes a picture format into a container."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import Final

import av

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.encoder_options import encoder_options
from lkdn_media.ffmpeg import find_ffmpeg
from lkdn_media.ffmpeg_codecs import OwnCodec, find_codec
from lkdn_media.formats import PLANAR, Layout, exact_layout, has_alpha, nearest_planar
from lkdn_media.palette import PALETTE
from lkdn_media.priority import ordinary_priority

__all__ = [
    "CONTAINERS",
    "check_container",
    "default_codec",
    "encoder_pix_fmt",
    "find_encoder",
    "holds",
    "nearest_pix_fmt",
    "opens",
    "own_codec",
]

#: Muxer for each file name ending.
CONTAINERS: Final = {
    ".mkv": "matroska",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".webm": "webm",
    ".apng": "apng",
    ".gif": "gif",
}
#: What people call an encoder whose name is another.
_ALIASES: Final = {
    **dict.fromkeys(("h264", "x264", "avc"), "libx264"),
    **dict.fromkeys(("h265", "x265", "hevc"), "libx265"),
    "av1": "libsvtav1",
    "prores": "prores_ks",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
}
#: Encoders whose packets files can't take, which muxers only say when they get some; of bare
#: samples each takes a few layouts, and some are read as others.
_UNWRITABLE: Final = ("rawvideo", "vc2", "rv10", "rv20")
#: A size that every encoder takes, H.263 and DNxHR among them.
_TRIAL_SIZE: Final = (352, 288)
_FAMILY_RANK: Final = {"yuv": 1, "rgb": 2, "gray": 3}


def default_codec(container: str, layout: Layout) -> str:
    """H.264 for 8-bit YUV, HEVC for deeper pictures and gray, VP9 and AV1 in WebM.

    RGB goes to H.264 4:4:4, which more players show than HEVC in RGB. Alpha goes to what keeps it:
    ProRes in MOV, VP9 in WebM, and in Matroska too as long as that loses nothing, else FFV1.
    """
    if container in ("apng", "gif"):
        return container
    if layout.alpha and container == "mov":
        return "prores_ks"
    if layout.alpha and container == "matroska" and layout != PLANAR["yuva420p"]:
        return "ffv1"
    if container == "webm" or (layout.alpha and container == "matroska"):
        return "libvpx-vp9" if layout.bits == 8 or layout.alpha else "libsvtav1"
    if layout.bits == 8 and layout.family != "gray":
        return "libx264"
    return "libx265" if "libx265" in av.codecs_available else "libx264"


def find_encoder(codec: str) -> av.Codec:
    """The video encoder of that name in this PyAV, or of a common one such as ``h265``.

    Raises ``ArgumentError`` with near names.
    """
    encoder = _encoder(codec)
    if encoder is None:
        names = [name for name in sorted(av.codecs_available) if _encoder(name)]
        near = [name for name in names if codec in name] or get_close_matches(codec, names, 3)
        hint = f" (near it: {', '.join(near)})" if near else ""
        raise ArgumentError(
            "codec: a video encoder of lkdn-video --list codecs, or of an ffmpeg program of your "
            f"own (--ffmpeg), is accepted, got {codec!r}{hint}"
        )
    return encoder


def _encoder(codec: str) -> av.Codec | None:
    try:
        encoder = av.Codec(_ALIASES.get(codec, codec), "w")
    except ValueError:
        return None
    return encoder if encoder.type == "video" else None


def own_codec(choice: EncoderChoice) -> OwnCodec | None:
    """The encoder of the user's own ffmpeg that is meant; ``None`` where PyAV's is, or none is."""
    if choice.codec is None or _encoder(choice.codec) is not None:
        return None
    try:
        program = find_ffmpeg(choice.ffmpeg, needed_by=f"--codec {choice.codec}")
    except ArgumentError:
        if choice.ffmpeg is not None:
            raise
        return None
    return find_codec(program, choice.codec)


def check_container(codec: str, container: str, *, writes: str | None = None) -> None:
    """Raise ``ArgumentError`` unless the muxer ``container`` holds what ``codec`` writes.

    ``writes``: what an encoder writes that is not PyAV's.
    """
    written = writes or find_encoder(codec).name
    if not holds(container, written):
        able = ", ".join(ending for ending, other in CONTAINERS.items() if holds(other, written))
        instead = f"; {able} can" if able else ""
        raise ArgumentError(f"codec: {container} can't hold {codec}{instead}")


@cache
def holds(container: str, codec: str) -> bool:
    """Whether the muxer ``container`` takes ``codec``, a format or the encoder of one."""
    if codec in _UNWRITABLE and container in CONTAINERS.values():
        return False
    encoder = _encoder(codec)
    name = codec if encoder is None else encoder.canonical_name
    with av.open(BytesIO(), "w", format=container) as trial:
        if name not in trial.supported_codecs:
            return False
        if container != "mov":
            return True
        # It lists AV1 and VP9, and then refuses them.
        trial.add_mux_stream(name, width=16, height=16)
        try:
            trial.start_encoding()
        except (av.FFmpegError, ValueError):
            return False
        return True


def encoder_pix_fmt(
    codec: str, layout: Layout, wanted: str, *, among: Collection[str] | None = None
) -> str:
    """The pixel format ``codec`` is given: ``wanted``, or for ``"auto"`` the nearest it has.

    ``among``: those of an encoder that is not PyAV's. Raises ``ArgumentError`` for an unknown
    encoder or a format it doesn't take.
    """
    if among is None:
        names = [f.name for f in find_encoder(codec).video_formats or ()]
    else:
        names = [name for name in among if name in av.video.format.names and not has_alpha(name)]
    # No list: it takes whatever it gets.
    names = names or list(PLANAR)
    usable = {
        name: offered
        for name in names
        if (offered := exact_layout(name)) and (not offered.alpha or opens(codec, name))
    }
    if codec == "apng":  # what the decoder can't lay over the picture before
        usable = {name: has for name, has in usable.items() if not (has.alpha and has.bits > 8)}
    if codec == "gif":  # its other formats are palettes made for all pictures
        usable = {PALETTE: PLANAR[nearest_planar(PALETTE)]}
    return nearest_pix_fmt(codec, usable, layout, wanted)


def nearest_pix_fmt(codec: str, usable: Mapping[str, Layout], layout: Layout, wanted: str) -> str:
    """``wanted``, or for ``"auto"`` the nearest to ``layout``, of those ``usable`` with ``codec``.

    Raises ``ArgumentError`` where there is none.
    """
    if not usable:
        raise ArgumentError(f"codec: {codec} takes none of the pictures that can be made here")
    if wanted == "auto":
        best = min(usable, key=lambda name: _loss(layout, usable[name]))
        if usable[best].family == "gray" != layout.family:
            raise ArgumentError(f"codec: {codec} takes no colours that can be made here")
        return best
    if wanted not in usable:
        raise ArgumentError(f"pix_fmt: {codec} takes {', '.join(usable)}, got {wanted!r}")
    return wanted


@cache
def opens(codec: str, pix_fmt: str) -> bool:
    """Whether ``codec`` starts here with pictures of ``pix_fmt``.

    Those of graphics cards need the card and its driver; libx265 and libvpx list formats that they
    refuse.
    """
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = _TRIAL_SIZE
    encoder.pix_fmt = pix_fmt
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = encoder_options(
        codec,
        EncoderChoice(),
        pix_fmt=pix_fmt,
        width=encoder.width,
        mastering_display=b"",
        content_light=b"",
    )
    try:
        with ordinary_priority():
            encoder.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _loss(have: Layout, offered: Layout) -> tuple[int, ...]:
    """How much of ``have`` is lost in ``offered``, worst first; then how much is wasted."""
    lost_alpha, spare_alpha = have.alpha > offered.alpha, have.alpha < offered.alpha
    family = 0 if offered.family == have.family else _FAMILY_RANK[offered.family]
    # Gray has no chroma to lose: the smallest is best.
    need = (2, 2) if have.family == "gray" else have.subsampling
    chroma = [n - o for n, o in zip(need, offered.subsampling, strict=True)]
    lost_chroma, spare_chroma = sum(max(0, -c) for c in chroma), sum(max(0, c) for c in chroma)
    depth = offered.bits - have.bits
    lost = lost_alpha, family, max(0, -depth), lost_chroma
    return *lost, spare_alpha, max(0, depth), spare_chroma
