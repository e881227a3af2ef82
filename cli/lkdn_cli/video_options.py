"""The options of ``lkdn-video``, by group, and what is made of them."""

import argparse
import logging
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lkdn_cli.console import Parser
from lkdn_cli.engine_options import add_engine_options
from lkdn_cli.pipe_options import add_pipe_options, opener_of
from lkdn_cli.size_options import add_scale_option, add_size_options
from lkdn_cli.tables import TABLES, print_table

if TYPE_CHECKING:
    from lkdn_media.encoder_choice import EncoderChoice
    from lkdn_media.source import Source

__all__ = ["add_options", "encoder_choice", "source_of"]

log = logging.getLogger(__name__)
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
#: More frames, seconds or bits than anything has; far larger numbers would not fit into FFmpeg's.
_MOST_FRAMES: Final = 10**9
_MOST_SECONDS: Final = 10**9
_MOST_BITS: Final = 10**12
#: Who asks for less means thousands or millions.
_LEAST_BITS: Final = 10**3


def add_options(parser: Parser) -> None:
    """Add all groups of options to ``parser``."""
    _add_network(parser.add_argument_group("network"))
    _add_fields(parser.add_argument_group("interlaced sources"))
    _add_decoding(parser.add_argument_group("decoding"))
    _add_crop(parser.add_argument_group("edges of the picture"))
    _add_part(parser.add_argument_group("a part only, whose first frame becomes time 0"))
    add_size_options(parser.add_argument_group("final size, in square pixels as shown"))
    _add_encoding(parser.add_argument_group("encoding"))
    _add_streams(parser.add_argument_group("streams beside the video, which are all kept"))
    add_pipe_options(parser.add_argument_group("pipes (-) and pictures (a folder, or %05d.png)"))
    parser.add_argument(
        "--list", choices=TABLES, action=_List, help="print a table of what there is, and stop"
    )
    _add_resuming(parser.add_argument_group("long jobs, which go on where they were broken off"))


def encoder_choice(arguments: argparse.Namespace) -> "EncoderChoice":
    """The wishes about encoding. Raises ``ArgumentError`` where they exclude each other."""
    from lkdn_media.encoder_choice import EncoderChoice

    return EncoderChoice(
        codec=arguments.codec,
        crf=arguments.crf,
        preset=arguments.preset,
        pix_fmt=arguments.pix_fmt,
        bitrate=arguments.bitrate,
        options=tuple(arguments.encoder_opt),
        ffmpeg=arguments.ffmpeg,
    )


def source_of(path: Path, arguments: argparse.Namespace) -> "Source":
    """What is read of the file at ``path``, and how. Raises ``LKDNError``."""
    from lkdn_media.crop import black_edges, cropped
    from lkdn_media.cut import cut
    from lkdn_media.ffmpeg import find_ffmpeg
    from lkdn_media.ffmpeg_filter import through_filter
    from lkdn_media.hwaccel import check_name
    from lkdn_media.probe import probe
    from lkdn_media.source import Crop, FfmpegFilter
    from lkdn_media.streams import without_streams

    hwaccel = check_name(arguments.hwaccel)
    source = without_streams(probe(path, opener=opener_of(path, arguments)), arguments.drop)
    if arguments.ffmpeg_vf is not None:
        program = find_ffmpeg(arguments.ffmpeg, needed_by="--ffmpeg-vf")
        source = through_filter(source, FfmpegFilter(program, arguments.ffmpeg_vf))
    source = cut(
        source,
        start=arguments.start or Fraction(0),
        end=arguments.end,
        frames=arguments.frames,
    )
    if arguments.crop is not None:
        crop = Crop(**arguments.crop)
        if not arguments.crop:
            crop = black_edges(source)
            found = f"black edges are cut off, as by --crop {crop}" if crop else "no black edges"
            log.warning("%s: %s", path, found)
        source = cropped(source, crop)
    return replace(source, hwaccel=hwaccel)


def _add_network(group: argparse._ArgumentGroup) -> None:
    add_scale_option(group)
    add_engine_options(group)
    group.add_argument(
        "--headroom", action="store_true", help="keep luma beyond 16 to 235 (default: clip it)"
    )


def _add_fields(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--deinterlace",
        choices=("auto", "bwdif", "off"),
        default="auto",
        help="auto (default): frames flagged as interlaced; bwdif: all",
    )
    group.add_argument("--ivtc", action="store_true", help="undo telecine: 30 to 24 frames/s")


def _add_decoding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--hwaccel", default="none", help="none (default), auto, or a name from --list devices"
    )
    group.add_argument(
        "--ffmpeg-vf",
        metavar="FILTERS",
        help="filters of your own ffmpeg program, before the network (none)",
    )
    group.add_argument(
        "--ffmpeg", metavar="PATH", help="that program (default: by LKDN_FFMPEG, or the PATH)"
    )


def _add_crop(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--crop",
        type=_sides,
        metavar="SIDES",
        help="pixels cut off first, as left=8,right=8,top=60,bottom=60; auto: what is black (none)",
    )


def _add_part(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--start", type=_seconds, help="seconds or hh:mm:ss.mmm (default 0)")
    group.add_argument("--end", type=_seconds, help="where to stop, likewise (default: the end)")
    group.add_argument("--frames", type=_count, help="how many, at most (default: all)")


def _add_encoding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--codec", help="a name from --list codecs (default: by container, depth, transparency)"
    )
    group.add_argument("--crf", type=float, help="quality, smaller is better (by codec)")
    group.add_argument("--bitrate", type=_bitrate, help="bits a second instead, 800k or 12M")
    group.add_argument("--preset", help="speed of the encoder, in its own words (by codec)")
    group.add_argument("--pix-fmt", default="auto", help="auto (default) keeps depth and chroma")
    group.add_argument(
        "--encoder-opt",
        type=_name_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the encoder's own; may be repeated (none)",
    )


def _add_streams(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="STREAM",
        help="leave out: audio, subtitle, cover, attachment, data or video, those of a language "
        "(audio:jpn), or a number that --dry-run shows (#3); may be repeated",
    )


class _List(argparse.Action):
    """Prints a table as soon as it is parsed, as ``--version`` does."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, name: object, _: object = None
    ) -> None:
        print_table(str(name))
        parser.exit()


def _seconds(text: str) -> Fraction:
    """Seconds of ``[[hh:]mm:]ss[.mmm]``."""
    seconds = Fraction(_MOST_SECONDS)
    if re.fullmatch(r"((\d{1,9}:)?\d{1,2}:)?\d{1,9}(\.\d{1,99})?", text):
        seconds = Fraction(0)
        for part in text.split(":"):
            seconds = seconds * 60 + Fraction(part)
    if seconds >= _MOST_SECONDS:
        accepted = f"seconds or hh:mm:ss.mmm are accepted, below {_MOST_SECONDS}"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text!r}")
    return seconds


def _sides(text: str) -> dict[str, int]:
    """Pixels by side; nothing for ``auto``."""
    if text == "auto":
        return {}
    parts = [re.fullmatch(r"(left|right|top|bottom)=(\d{1,5})", part) for part in text.split(",")]
    sides = {part[1]: int(part[2]) for part in parts if part}
    if len(sides) != len(parts):  # or one of them comes twice
        accepted = "auto, or pixels by side as left=8,top=60 are accepted"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text!r}")
    return sides


def _add_resuming(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--segment",
        type=_frames,
        metavar="FRAMES",
        help="frames between the points from which a broken-off job resumes (default: 240, on a "
        "CPU 48 to 240 by their size); 0: none, in one pass",
    )
    group.add_argument("--restart", action="store_true", help="begin again instead")


def _frames(text: str) -> int:
    return _whole(text, 0, "a number of frames")


def _count(text: str) -> int:
    return _whole(text, 1, "a positive number")


def _whole(text: str, least: int, what: str) -> int:
    frames = int(text) if re.fullmatch(r"\d{1,10}", text) else -1
    if not least <= frames <= _MOST_FRAMES:
        accepted = f"{what} is accepted, up to {_MOST_FRAMES}"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text!r}")
    return frames


def _bitrate(text: str) -> int:
    match = re.fullmatch(r"(\d{1,13}(?:\.\d{1,99})?)([kMG]?)", text)
    bits = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not _LEAST_BITS <= bits <= _MOST_BITS:
        least, most = f"{_LEAST_BITS // 10**3}k", f"{_MOST_BITS // 10**9}G"
        accepted = f"bits a second like 800k or 12M are accepted, from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text}")
    return bits


def _name_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE is accepted, got {text!r}")
    return name, value
