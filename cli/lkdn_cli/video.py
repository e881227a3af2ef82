"""``lkdn-video``: enlarge video files; everything else in them stays as it is."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from lkdn_cli.compare import add_compare_option
from lkdn_cli.console import Parser, run
from lkdn_cli.interrupts import Interrupts
from lkdn_cli.paths import find_inputs, names_folder
from lkdn_cli.progress import Reporter, teller_of_refusals
from lkdn_cli.video_options import add_options
from lkdn_core.errors import ArgumentError

__all__ = ["main"]

#: How pictures are named in a folder whose name is all that was given.
FRAMES = "%05d.png"


def main(argv: list[str] | None = None) -> int:
    """Enlarge videos; returns the exit code: 0, 1 failed, 2 usage, 3 salvaged, 130 Ctrl-C."""
    parser = Parser(
        prog="lkdn-video",
        usage="%(prog)s [options] IN OUT\n       %(prog)s [options] IN... -o FOLDER",
        description="Enlarge a video with a network. Sound, subtitles, chapters, tags and timing "
        "are kept. The ending of OUT (.mkv, .mp4, .mov, .webm, .apng, .gif) names the container; "
        "- is a pipe of y4m, FOLDER/ or FOLDER/%05d.png are pictures, as IN too. With -o, any "
        "number of files and folders. A long job that was broken off goes on when the same "
        "command is run again.",
        epilog="Exit code: 0 done, 1 failed, 2 wrong arguments, 3 the source was damaged but what "
        "could be read is in OUT, 130 interrupted.",
    )
    parser.add_argument("paths", nargs="+", metavar="IN", help="then OUT, without -o")
    parser.add_argument("-o", "--output-dir", type=Path, metavar="FOLDER", help="for all results")
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
    from lkdn_cli.batch import pair_files, run_batch
    from lkdn_cli.enlarger import Enlarger

    enlarger = Enlarger(arguments, reporter, interrupts)
    if arguments.output_dir is not None:
        if arguments.compare:
            raise ArgumentError("compare: one page shows one video, got -o too")
        pairs, unreadable = pair_files(find_inputs(arguments.paths), arguments.output_dir)
        return run_batch(pairs, unreadable, enlarger, reporter)
    *names, last = arguments.paths
    if not names:
        raise ArgumentError("the following arguments are required: OUT (see lkdn-video --help)")
    inputs = find_inputs(names)
    if len(inputs) > 1:
        raise ArgumentError(f"output: {len(inputs)} inputs need -o FOLDER")
    target = Path(last) / FRAMES if names_folder(last) else Path(last)  # a folder of pictures
    return enlarger.run(inputs[0], target)


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
