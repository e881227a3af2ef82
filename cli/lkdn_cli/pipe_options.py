"""Options of ``lkdn-video`` for pipes and numbered pictures, and what is made of them."""

import argparse
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lkdn_core.errors import ArgumentError, FormatError, LKDNError

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["add_pipe_options", "check_ends", "opener_of"]

#: FFmpeg takes pictures of fewer pixels, with a margin of 128 each way.
_PIXELS: Final = 2**28
#: Frames a second, and seconds a frame, that FFmpeg can tell.
_RATE: Final = Fraction(10**6)


def add_pipe_options(group: argparse._ArgumentGroup) -> None:
    """Add the options to ``group``."""
    formats = ("y4m", "rawvideo", "mkv", "mp4", "mov", "webm", "apng", "gif")
    what = (
        "of OUT -: y4m (default), rawvideo, mkv; of all files of -o: mkv, mp4, ... (default: as "
        "IN, or mkv)"
    )
    group.add_argument("-f", "--format", choices=formats, metavar="FORMAT", help=what)
    raw = "the pipe IN (-) holds bare samples of this size, not y4m"
    group.add_argument("--raw", type=_size, metavar="WxH", help=raw)
    group.add_argument("--raw-pix-fmt", type=_pix_fmt, help="their pixel format (yuv420p)")
    group.add_argument("--fps", type=_rate, help="of --raw and of pictures, as 24000/1001 (25)")


def check_ends(source: Path, target: Path, arguments: argparse.Namespace) -> None:
    """Refuse what a pipe, pictures or an ffmpeg program can't do. Raises ``ArgumentError``."""
    from lkdn_media.pipes import PIPE
    from lkdn_media.targets import is_pattern

    if target == PIPE and arguments.json:
        raise ArgumentError("json: goes to stdout, where the video goes already")
    if arguments.compare and (PIPE in (source, target) or is_pattern(target)):
        raise ArgumentError("compare: both IN and OUT must be files")
    if source == PIPE and (arguments.start or arguments.end or arguments.frames):
        raise ArgumentError("start, end, frames: a file is needed, a pipe can't be sought in")
    if source != PIPE and arguments.raw:
        raise ArgumentError(f"raw: is for input from a pipe, named -, got {source}")
    if arguments.raw_pix_fmt and not arguments.raw:
        raise ArgumentError("raw_pix_fmt: is for --raw, a video has its own")
    pictures = source.is_dir() or is_pattern(source)
    if arguments.ffmpeg_vf and (pictures or source == PIPE):
        raise ArgumentError("ffmpeg_vf: IN must be a file, which the ffmpeg program reads itself")
    if arguments.ffmpeg_vf and arguments.hwaccel not in ("none", "auto"):
        decodes = "whose ffmpeg decodes by itself"
        raise ArgumentError(
            f"hwaccel: none or auto goes with --ffmpeg-vf, {decodes}, got {arguments.hwaccel}"
        )
    if arguments.fps and not pictures and not (source == PIPE and arguments.raw):
        raise ArgumentError("fps: is for --raw and for pictures, a video has its own")


def opener_of(source: Path, arguments: argparse.Namespace) -> "Callable[[], InputContainer] | None":
    """What opens ``source`` where that is no file of its own. Raises ``LKDNError``."""
    from lkdn_media.images import READABLE
    from lkdn_media.pipes import PIPE, RawVideo, stdin_opener
    from lkdn_media.sequences import sequence_opener
    from lkdn_media.targets import NUMBER, is_pattern

    rate = arguments.fps or Fraction(25)
    if source == PIPE:
        raw = None
        if arguments.raw:
            width, height = arguments.raw
            raw = RawVideo(width, height, arguments.raw_pix_fmt or "yuv420p", rate)
        return stdin_opener(getattr(sys.stdin, "buffer", None), raw)
    if source.is_dir() or (is_pattern(source) and not source.exists()):
        return sequence_opener(source, rate)
    if NUMBER.search(source.name) and not source.exists():
        raise LKDNError(f"{source}: no such file; numbered pictures end in {', '.join(READABLE)}")
    return None


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"a size such as 640x360 is accepted, got {text!r}")
    width, height = int(found[1]), int(found[2])
    if (width + 128) * (height + 128) >= _PIXELS:
        raise argparse.ArgumentTypeError(f"a size up to 16000x16000 is accepted, got {text!r}")
    return width, height


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"a number such as 24 or 24000/1001, got {text!r}")
    if not 1 / _RATE <= rate <= _RATE:
        accepted = f"a number from 1/{_RATE} to {_RATE} is accepted"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text!r}")
    return rate


def _pix_fmt(text: str) -> str:
    from av.video.format import names

    from lkdn_media.formats import nearest_planar

    try:
        if text not in names:
            raise FormatError(text)
        nearest_planar(text)
    except FormatError:
        raise argparse.ArgumentTypeError(
            f"a pixel format of FFmpeg with up to 16 bits a sample is accepted, got {text!r}"
        ) from None
    return text
