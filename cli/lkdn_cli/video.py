"""``lkdn-video``: enlarge a video file; everything else in it stays as it is."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lkdn_cli.compare import add_compare_option, check_page, write_page
from lkdn_cli.console import OK, SALVAGED, Parser, run
from lkdn_cli.video_options import add_options, encoder_choice, scale_of, size_choice, source_of

if TYPE_CHECKING:
    from lkdn_media.pipeline import Result
    from lkdn_media.plan import Plan

__all__ = ["main"]

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Enlarge one video; returns the exit code: 0, 1 failed, 2 usage, 3 salvaged, 130 Ctrl-C."""
    parser = Parser(
        prog="lkdn-video",
        description="Enlarge a video with a network. Sound, subtitles, chapters, tags and timing "
        "are kept. The ending of OUT (.mkv, .mp4, .mov, .webm) names the container.",
        epilog="Exit code: 0 done, 1 failed, 2 wrong arguments, 3 the source was damaged but what "
        "could be read is in OUT, 130 interrupted.",
    )
    parser.add_argument("input", type=Path, metavar="IN")
    parser.add_argument("output", type=Path, metavar="OUT")
    add_options(parser)
    add_compare_option(parser)
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite OUT")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")
    return run(parser, _upscale, argv)


def _upscale(arguments: argparse.Namespace) -> int:
    with _ffmpeg_log() if arguments.verbose else nullcontext():
        return _upscale_file(arguments)


def _upscale_file(arguments: argparse.Namespace) -> int:
    from lkdn_media.pipeline import check_paths
    from lkdn_media.plan import make_plan

    check_paths(arguments.input, arguments.output, overwrite=arguments.overwrite)
    if arguments.compare:
        here, there = arguments.input, arguments.output
        check_page(arguments.compare, (here, there), overwrite=arguments.overwrite)
    choice, size = encoder_choice(arguments), size_choice(arguments)
    source = source_of(arguments.input, arguments)
    plan = make_plan(
        source,
        arguments.output,
        scale=scale_of(arguments, source, size),
        choice=choice,
        size=size,
        deinterlace=arguments.deinterlace,
        ivtc=arguments.ivtc,
    )
    for warning in plan.warnings:
        log.warning("warning: %s", warning)
    if arguments.dry_run:
        print("\n".join(plan.describe()))
        return OK
    result = _run(plan, arguments)
    if result.damage:
        log.warning("warning: %s: %s; the rest is in the output", source.path, result.damage)
        return SALVAGED
    return OK


def _run(plan: "Plan", arguments: argparse.Namespace) -> "Result":
    from tqdm import tqdm

    from lkdn_core import Upscaler
    from lkdn_media.pipeline import upscale_video

    upscaler = Upscaler(
        scale=plan.scale,
        model=arguments.model,
        weights=arguments.weights,
        device=arguments.device,
        precision=arguments.precision,
        backend=arguments.backend,
        batch_size=arguments.batch_size,
        tile=arguments.tile,
        overlap=arguments.overlap,
    )
    live = sys.stderr.isatty()
    # Bar and lock stay in this thread: after an error inside tqdm another could wait for ever.
    tqdm.monitor_interval = 0
    with tqdm(
        total=plan.source.frames or None,
        unit=" frames",
        disable=arguments.quiet,
        mininterval=0.2 if live else 10,
        delay=0 if live else 10,  # a log file gets no bar for a short clip
    ) as bar:
        result = upscale_video(plan, arguments.output, upscaler, progress=bar.update)
        seconds = bar.format_dict["elapsed"]
    rate = result.frames / max(seconds, 1e-3)
    if not arguments.quiet:
        size = f"{plan.width}x{plan.height}"
        print(
            f"lkdn-video: {arguments.output}: {result.frames} frames of {size}, "
            f"{rate:.2f} frames/s",
            file=sys.stderr,
        )
    if arguments.compare:
        from lkdn_media.compare import compare_video

        write_page(arguments.compare, lambda: compare_video(plan, arguments.output, rate=rate))
    return result


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
