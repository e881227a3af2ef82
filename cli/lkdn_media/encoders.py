"""Which encoder writes a picture format into a container, and with which settings."""

import struct
from dataclasses import dataclass
from typing import Final

import av

from lkdn_core.errors import ArgumentError
from lkdn_media.formats import PLANAR, Layout, exact_layout

__all__ = ["EncoderChoice", "default_codec", "encoder_options", "encoder_pix_fmt"]

#: Close to transparent for each encoder; what is not here runs with the encoder's own defaults.
_DEFAULTS: Final[dict[str, dict[str, str]]] = {
    "libx264": {"crf": "17", "preset": "medium"},
    "libx265": {"crf": "18", "preset": "medium"},
    "libsvtav1": {"crf": "22", "preset": "6"},
    "libvpx-vp9": {"crf": "20", "cpu-used": "2", "row-mt": "1"},
}
_X26X: Final = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo"
#: The presets of encoders that complain on stderr by themselves about others.
_PRESETS: Final = {name: _X26X.split() for name in ("libx264", "libx264rgb", "libx265")}
#: Where each encoder takes settings of its own library; there its names for HDR10 metadata, and
#: its units of chromaticity and luminance (most follow SMPTE ST 2086).
_PARAMS: Final = {
    "libx264": ("x264-params", "mastering-display", "cll", (50000, 10000)),
    "libx265": ("x265-params", "master-display", "max-cll", (50000, 10000)),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", (1, 1)),
}
#: Below it, cutree in x265 4.3 writes outside its memory (seen at 33 to 48 pixels).
_X265_SAFE_WIDTH: Final = 64
_FAMILY_RANK: Final = {"yuv": 1, "rgb": 2, "gray": 3}


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What the user asked for; ``None`` and ``"auto"`` leave it to us."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str = "auto"


def default_codec(container: str, layout: Layout) -> str:
    """H.264 for 8-bit YUV, HEVC for deeper pictures and gray, VP9 and AV1 in WebM.

    RGB goes to H.264 4:4:4, which more players show than HEVC in RGB.
    """
    if container == "webm":
        return "libvpx-vp9" if layout.bits == 8 else "libsvtav1"
    if layout.bits == 8 and layout.family != "gray":
        return "libx264"
    return "libx265" if "libx265" in av.codecs_available else "libx264"


def encoder_pix_fmt(codec: str, layout: Layout, wanted: str) -> str:
    """The pixel format ``codec`` is given: ``wanted``, or for ``"auto"`` the nearest it has.

    Raises ``ArgumentError`` for an unknown encoder or a format it doesn't take.
    """
    try:
        encoder = av.Codec(codec, "w")
    except ValueError:
        encoder = None
    if encoder is None or encoder.type != "video":
        raise ArgumentError(f"codec: a video encoder of this PyAV is accepted, got {codec!r}")
    # No list: it takes whatever it gets.
    names = [f.name for f in encoder.video_formats] if encoder.video_formats else list(PLANAR)
    usable = {name: offered for name in names if (offered := exact_layout(name)) is not None}
    if not usable:
        raise ArgumentError(f"codec: {codec} takes none of the pictures that can be made here")
    if wanted == "auto":
        return min(usable, key=lambda name: _loss(layout, usable[name]))
    if wanted not in usable:
        raise ArgumentError(f"pix_fmt: {codec} takes {', '.join(usable)}, got {wanted!r}")
    return wanted


def encoder_options(
    codec: str, choice: EncoderChoice, *, width: int, mastering_display: bytes, content_light: bytes
) -> dict[str, str]:
    """Options for ``codec``: its defaults, the user's choice, what its library needs.

    ``width``: of the pictures. The HDR10 metadata are FFmpeg's structures, or ``b""``.
    Raises ``ArgumentError`` for a setting the encoder doesn't have.
    """
    encoder = av.CodecContext.create(codec, "w")
    known = {option.name for option in encoder.supported_options.private}
    options = dict(_DEFAULTS.get(codec, {}))
    for name, value in (("crf", choice.crf), ("preset", choice.preset)):
        if value is None:
            continue
        if name not in known:
            raise ArgumentError(f"{name}: {codec} has no such setting, got {value}")
        if name == "preset" and value not in _PRESETS.get(codec, [value]):
            names = ", ".join(_PRESETS[codec])
            raise ArgumentError(f"preset: {codec} has {names}, got {value!r}")
        options[name] = f"{value:g}" if isinstance(value, float) else value
    if codec in _PARAMS:
        key, display_name, light_name, units = _PARAMS[codec]
        params = []
        if codec == "libx265":
            params.append("log-level=none")
            if width < _X265_SAFE_WIDTH:
                params.append("cutree=0")
        if mastering_display:
            params.append(f"{display_name}={_mastering_text(mastering_display, units)}")
        if content_light:
            brightest, average = struct.unpack_from("=2I", content_light)
            params.append(f"{light_name}={brightest},{average}")
        if params:
            options[key] = ":".join(params)
    return options


def _loss(have: Layout, offered: Layout) -> tuple[int, ...]:
    """How much of ``have`` is lost in ``offered``, worst first; then how much is wasted."""
    family = 0 if offered.family == have.family else _FAMILY_RANK[offered.family]
    # Gray has no chroma to lose: the smallest is best.
    need = (2, 2) if have.family == "gray" else have.subsampling
    chroma = [n - o for n, o in zip(need, offered.subsampling, strict=True)]
    lost_chroma, spare_chroma = sum(max(0, -c) for c in chroma), sum(max(0, c) for c in chroma)
    depth = offered.bits - have.bits
    return family, max(0, -depth), lost_chroma, max(0, depth), spare_chroma


def _mastering_text(data: bytes, units: tuple[int, int]) -> str:
    """FFmpeg's AVMasteringDisplayMetadata in the text form encoders take."""
    numbers = struct.unpack_from("=20i", data)
    values = [n / d if d else 0.0 for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
    points = [f"{round(v * units[0], 6):g}" for v in values[:8]]
    red, green, blue, white = (f"({x},{y})" for x, y in zip(points[::2], points[1::2], strict=True))
    low, high = (f"{round(v * units[1], 6):.10g}" for v in values[8:])
    return f"G{green}B{blue}R{red}WP{white}L({high},{low})"
