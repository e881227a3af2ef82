"""``lkdn-video``: enlarge video files; everything else in them stays as it is."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from textwrap import fill
from typing import Final

from lkdn_cli.compare import add_compare_option
from lkdn_cli.console import Parser, run
from lkdn_cli.interrupts import Interrupts
from lkdn_cli.paths import find_inputs, names_folder
from lkdn_cli.progress import Reporter, teller_of_refusals
from lkdn_cli.video_options import add_options
from lkdn_core.errors import ArgumentError

__all__ = ["main"]

_EXAMPLES: Final = """\
for example:
  lkdn-video old.mp4 new.mp4                        four times larger
  lkdn-video dvd.mkv uhd.mkv --height 2160          a size instead of a scale
  lkdn-video in.mkv small.mkv --codec libx265 --crf 24
  lkdn-video videos/ -o larger/                     a folder of them
  lkdn-video in.mp4 frames/ --scale 2               pictures; back with --fps
  lkdn-video in.mp4 out.mp4 --frames 50 --compare page.html
"""
_CODES: Final = (
    "Exit code: 0 done, 1 failed, 2 wrong arguments, 3 the source was damaged but what could be "
    "read is in OUT, 130 interrupted."
)
#: How pictures are named in a folder whose name is all that was given.
FRAMES = "%05d.png"


def main(argv: list[str] | None = None) -> int:
    """Enlarge videos; returns the exit code: 0, 1 failed, 2 usage, 3 salvaged, 130 Ctrl-C."""
    parser = Parser(
        prog="lkdn-video",
        usage="%(prog)s [options] IN OUT\n       %(prog)s [options] IN... -o FOLDER",
        description=fill(
            "Enlarge a video with a network. Sound, subtitles, chapters, tags and timing are kept. "
            "The ending of OUT (.mkv, .mp4, .mov, .webm, .apng, .gif) names the container; - is a "
            "pipe of y4m, with -f mkv of the whole file, FOLDER/ or FOLDER/%05d.png are pictures, "
            "as IN too. With -o, any number of files and folders. A long job that was broken off "
            "goes on when the same command is run again.",
            79,
        ),
        epilog=f"{_EXAMPLES}\n{fill(_CODES, 79)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="IN", help="then OUT, without -o")
    parser.add_argument(
        "-o", "--output-dir", metavar="FOLDER", help="of all results; of one IN also OUT"
    )
    add_options(parser)
    add_compare_option(parser)
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite OUT")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written")
    parser.add_argument("--json", action="store_true", help="report as JSON lines on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")
    return run(parser, _upscale, argv, refused=teller_of_refusals(parser.prog, argv))


def _upscale(arguments: argparse.Namespace) -> int:
    reporter = Reporter("lkdn-video", as_json=arguments.json, quiet=arguments.quiet)
    interrupts = Interrupts()
    log = _ffmpeg_log() if arguments.verbose else nullcontext()
    with log, reporter.events(), interrupts.caught():
        return _upscale_files(arguments, reporter, interrupts)


def _upscale_files(
    arguments: argparse.Namespace, reporter: Reporter, interrupts: Interrupts
) -> int:
    from lkdn_cli.batch import hint_at_pictures

    *names, last = arguments.paths
    if arguments.output_dir is not None:
        names, last = arguments.paths, arguments.output_dir
    elif not names:
        raise ArgumentError("the following arguments are required: OUT (see lkdn-video --help)")
    inputs = find_inputs(names)
    if arguments.output_dir is not None and not _means_file(inputs, last):
        return _upscale_many(inputs, arguments, reporter, interrupts)
    arguments.output_dir = None
    if len(inputs) > 1:
        hint = hint_at_pictures(inputs)
        raise ArgumentError(f"output: {len(inputs)} inputs need -o FOLDER{hint}")
    target = Path(last) / FRAMES if names_folder(last) else Path(last)  # a folder of pictures
    _check_names(inputs[0], target, arguments.format)
    from lkdn_cli.enlarger import Enlarger

    return Enlarger(arguments, reporter, interrupts).run(inputs[0], target)


def _means_file(inputs: Sequence[Path], output: str) -> bool:
    """Whether the ``output`` that -o names is one file, as other programs have it.

    Raises ``ArgumentError`` where it looks like one and several are to be written.
    """
    from lkdn_cli.batch import ENDINGS
    from lkdn_media.encoders import CONTAINERS
    from lkdn_media.pipes import PIPE
    from lkdn_media.targets import is_pattern

    path = Path(output)
    named = path == PIPE or is_pattern(path) or path.suffix.lower() in {*CONTAINERS, *ENDINGS}
    if names_folder(output) or not named:
        return False
    if len(inputs) == 1 and not os.path.isdir(inputs[0]):
        return not os.path.isdir(output)
    if path == PIPE:
        raise ArgumentError("output: - is a pipe, for one video")
    if not os.path.lexists(output):
        raise ArgumentError(f"output: {output} is a name of a file; a folder is {output}/")
    return False


def _upscale_many(
    inputs: Sequence[Path],
    arguments: argparse.Namespace,
    reporter: Reporter,
    interrupts: Interrupts,
) -> int:
    from lkdn_cli.batch import pair_files, run_batch

    if arguments.compare:
        raise ArgumentError("compare: one page shows one video, got -o too")
    output = Path(arguments.output_dir)
    pairs, unreadable = pair_files(inputs, output, format=arguments.format)
    arguments.format = None  # their names have it now
    from lkdn_cli.enlarger import Enlarger

    return run_batch(pairs, unreadable, Enlarger(arguments, reporter, interrupts), reporter)


def _check_names(source: Path, target: Path, format: str | None) -> None:
    """Refuse at once, without torch, what most often is wrong. Raises ``LKDNError``."""
    from lkdn_media.files import check_there
    from lkdn_media.pipes import PIPE
    from lkdn_media.targets import container_of

    if not os.path.isdir(target):
        container_of(target, format)
    if source != PIPE and "%" not in source.name:  # a pattern, of a kind that is accepted or not
        check_there(source)


@contextmanager
def _ffmpeg_log() -> Iterator[None]:
    """Let FFmpeg's warnings through to stderr."""
    import av

    av.logging.set_libav_level(av.logging.WARNING)
    av.logging.restore_default_callback()
    try:
        yield
    finally:
        av.logging.set_level(None)
