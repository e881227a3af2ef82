"""Settings of an encoder: its defaults, what the user wants, what its library has to be told."""

import os
import re
import struct
from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Final

import av
from av.codec.context import OptionType

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_choice import EncoderChoice

if TYPE_CHECKING:
    from av.codec.context import CodecOption

__all__ = [
    "encoder_options",
    "pix_fmts_of_profile",
    "unknown_option",
    "writes_captions",
    "writes_hdr10",
]

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 talks on stderr otherwise

#: Fixed quantiser 2, the best most old encoders have (118 is FFmpeg's FF_QP2LAMBDA).
_Q2: Final = {"flags": "+qscale", "global_quality": str(2 * 118)}
_NVENC: Final = {"preset": "p5", "rc": "vbr", "cq": "19", "b": "0"}
#: Close to transparent for each encoder; what is not here runs with the encoder's own defaults.
_DEFAULTS: Final[dict[str, dict[str, str]]] = {
    "libx264": {"crf": "17", "preset": "medium"},
    "libx264rgb": {"crf": "17", "preset": "medium"},
    "libx265": {"crf": "18", "preset": "medium", "a53cc": "1"},
    "libsvtav1": {"crf": "22", "preset": "6"},
    "libaom-av1": {"crf": "20", "cpu-used": "4", "row-mt": "1"},
    "libvpx-vp9": {"crf": "20", "cpu-used": "2", "row-mt": "1"},
    "libvpx": {"crf": "8", "cpu-used": "2", "b": "50000000"},  # without a limit it ignores crf
    "h264_nvenc": _NVENC,
    "hevc_nvenc": _NVENC,
    "av1_nvenc": _NVENC,
    "h264_qsv": {"global_quality": "19"},
    "hevc_qsv": {"global_quality": "19"},
    "av1_qsv": {"global_quality": "19"},
    "h264_amf": {"rc": "cqp", "qp_i": "18", "qp_p": "18", "qp_b": "20"},
    "hevc_amf": {"rc": "cqp", "qp_i": "18", "qp_p": "18"},
    "h264_videotoolbox": {"b": "40000000"},
    "hevc_videotoolbox": {"b": "30000000"},
    "ffv1": {"level": "3", "g": "1", "slicecrc": "1"},
    "mjpeg": _Q2 | {"strict": "-1"},  # unofficial: limited range
    "mpeg4": _Q2,
    "mpeg2video": _Q2,
    "mpeg1video": _Q2,
    "msmpeg4v2": _Q2,
    "wmv2": _Q2,
    "flv": _Q2,
}
#: DNxHR takes any size; its profile is not chosen by the picture format.
_DNXHR: Final = {
    "yuv422p": "dnxhr_hq",
    "yuv422p10le": "dnxhr_hqx",
    "yuv444p10le": "dnxhr_444",
    "gbrp10le": "dnxhr_444",
}
#: Profiles of prores_ks, by number and name, that FFmpeg gives 4:4:4 and transparency to no avail.
_PRORES_422: Final = ("0", "1", "2", "3", "proxy", "lt", "standard", "hq")
#: What constant quality is called by encoders that don't say ``crf``.
_QUALITY_NAMES: Final = {"_nvenc": "cq", "_qsv": "global_quality"}
#: Settings that fix the quality, and go when a bit rate is wanted.
_QUALITY: Final = ("crf", "cq", "rc", "qp_i", "qp_p", "qp_b", "flags", "global_quality")
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
#: What is not left to an encoder, by the options that decide it.
_PLANNED: Final = {
    "pixel_format": "--pix-fmt",
    "video_size": "--scale, --width and --height",
    "time_base": "the source",
}
#: Below it, cutree in x265 4.3 writes outside its memory (seen at 33 to 48 pixels).
_X265_SAFE_WIDTH: Final = 64
#: What the options themselves do not say; larger values count as this one.
_MOST: Final = {(codec, "crf"): 51 for codec in _PRESETS}
_NUMBERS: Final = {
    OptionType.INT,
    OptionType.INT64,
    OptionType.UINT,
    OptionType.UINT64,
    OptionType.FLOAT,
    OptionType.DOUBLE,
}


def encoder_options(
    codec: str,
    choice: EncoderChoice,
    *,
    pix_fmt: str,
    width: int,
    mastering_display: bytes,
    content_light: bytes,
    constant_rate: bool = False,
) -> dict[str, str]:
    """Options for ``codec``: its defaults, the user's choice, what its library needs.

    ``width``: of the pictures. The HDR10 metadata are FFmpeg's structures, or ``b""``.
    ``constant_rate``: all pictures are shown for the same time.
    Raises ``ArgumentError`` for a setting the encoder doesn't have, or a value it can't have.
    """
    known = _known(codec)
    options = dict(_DEFAULTS.get(codec, {}))
    if codec == "dnxhd" and pix_fmt in _DNXHR:
        options["profile"] = _DNXHR[pix_fmt]
    if choice.bitrate is not None:
        options = {name: value for name, value in options.items() if name not in _QUALITY}
        options["b"] = str(choice.bitrate)
    quality = next((q for end, q in _QUALITY_NAMES.items() if codec.endswith(end)), "crf")
    for name, option, value in (
        ("crf", quality, None if choice.crf is None else f"{choice.crf:g}"),
        ("preset", "preset", choice.preset),
    ):
        if value is None:
            continue
        if option not in known:
            raise ArgumentError(f"{name}: {codec} has no such setting, got {value}")
        _check_value(name, codec, known[option], value)
        options[option] = value
    if choice.crf is None and dict(choice.options).get("lossless", "0") != "0":
        options.pop("crf", None)  # which libvpx would refuse beside it
    for option, value in choice.options:
        if option in _PLANNED:
            raise ArgumentError(f"encoder_opt: {option} follows from {_PLANNED[option]}")
        if option not in known:
            raise unknown_option(codec, option, known)
        _check_value(f"encoder_opt {option}", codec, known[option], value)
        options[option] = value
    ours = _library_params(codec, width, mastering_display, content_light, constant_rate)
    if ours:
        key = _PARAMS[codec][0]
        options[key] = ":".join(filter(None, (*ours, options.get(key))))
    return options


def pix_fmts_of_profile(codec: str, choice: EncoderChoice) -> Collection[str] | None:
    """The pixel formats of the profile that ``choice`` names; ``None`` where any may be."""
    profile = dict(choice.options).get("profile")
    return ("yuv422p10le",) if codec == "prores_ks" and profile in _PRORES_422 else None


def writes_hdr10(codec: str) -> bool:
    """Whether ``codec`` can be told HDR10's mastering display and content light."""
    return codec in av.codecs_available and codec in _PARAMS


@cache
def writes_captions(codec: str) -> bool:
    """Whether ``codec`` writes closed captions (ATSC A/53) into its pictures."""
    return codec in av.codecs_available and "a53cc" in _known(codec)


def _known(codec: str) -> "dict[str, CodecOption]":
    """What ``codec`` can be told, its own options before those all encoders have."""
    encoder = av.CodecContext.create(codec, "w")
    options = {o.name: o for o in encoder.supported_options.generic}
    return options | {o.name: o for o in encoder.supported_options.private}


def unknown_option(codec: str, option: str, known: Collection[str]) -> ArgumentError:
    """The error for an ``option`` that ``codec`` has not, with those ``known`` near it."""
    near = get_close_matches(option, known, 3, 0.5) or [name for name in known if option in name]
    hint = f"; near it: {', '.join(near[:3])}" if near else ""
    return ArgumentError(f"encoder_opt: {codec} has no option {option!r}{hint}")


def _check_value(name: str, codec: str, option: "CodecOption", value: str) -> None:
    """Refuse what the option can't be; what only the encoder can judge is left to it."""
    choices = [choice.name for choice in option.choices]
    if option.name == "preset":
        choices = _PRESETS.get(codec, choices)
    if value in choices:
        return
    number = _number(value)
    if option.type in _NUMBERS and number is not None:
        most = _MOST.get((codec, option.name), option.max)
        if not option.min <= number <= most:
            bounds = f"{option.min:g} to {most:g}"
            raise ArgumentError(f"{name}: {codec} takes {bounds}, got {value}")
    elif option.type in _NUMBERS or (choices and number is None):
        if option.type == OptionType.FLAGS:
            return
        near = get_close_matches(value, choices, 1)
        hint = f" (near it: {near[0]})" if near else ""
        accepted = ", ".join(choices) or "a number"
        raise ArgumentError(f"{name}: {codec} has {accepted}, got {value!r}{hint}")


def _number(text: str) -> float | None:
    """``text`` as FFmpeg reads a plain number, with k, M or G behind it; ``None`` for others."""
    match = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)([kMG]?)", text)
    if match is None:
        return None
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]


def _library_params(
    codec: str, width: int, mastering: bytes, light: bytes, constant_rate: bool
) -> list[str]:
    """``name=value`` settings for the library behind ``codec``."""
    if codec not in _PARAMS:
        return []
    _, display_name, light_name, units = _PARAMS[codec]
    params = []
    if codec == "libx265":
        params.append("log-level=none")
        if width < _X265_SAFE_WIDTH:
            params.append("cutree=0")
    if codec == "libx264" and constant_rate:
        # Times stay what they are. It writes the frame rate into its head instead of our time base,
        # and FFmpeg before 6 takes the durations in MP4 from there.
        params.append("force-cfr=1")
    if mastering:
        params.append(f"{display_name}={_mastering_text(mastering, units)}")
    if light:
        brightest, average = struct.unpack_from("=2I", light)
        params.append(f"{light_name}={brightest},{average}")
    return params


def _mastering_text(data: bytes, units: tuple[int, int]) -> str:
    """FFmpeg's AVMasteringDisplayMetadata in the text form encoders take."""
    numbers = struct.unpack_from("=20i", data)
    values = [n / d if d else 0.0 for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
    # x264 and x265 pass over a display whose numbers are not whole, as those from AV1 may be.
    digits = 6 if units == (1, 1) else None
    points = [f"{round(v * units[0], digits):g}" for v in values[:8]]
    red, green, blue, white = (f"({x},{y})" for x, y in zip(points[::2], points[1::2], strict=True))
    low, high = (f"{round(v * units[1], digits):.10g}" for v in values[8:])
    return f"G{green}B{blue}R{red}WP{white}L({high},{low})"
