"""``lkdn-image``: enlarge pictures, one or whole folders of them."""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lkdn_cli.compare import add_compare_option, check_page, write_page
from lkdn_cli.console import FAILED, OK, Parser, exit_code, message, run, say
from lkdn_cli.engine_options import (
    add_engine_options,
    asked_network,
    check_engine,
    make_upscaler,
)
from lkdn_cli.interrupts import Interrupts
from lkdn_cli.paths import find_inputs, names_folder
from lkdn_cli.progress import Reporter, bar, teller_of_refusals
from lkdn_cli.size_options import add_scale_option, add_size_options, scales_of, size_choice
from lkdn_core.checks import whole
from lkdn_core.errors import ArgumentError, LKDNError

if TYPE_CHECKING:
    from lkdn_core.progress import Progress
    from lkdn_media.picture_batch import Outcome
    from lkdn_media.picture_jobs import PictureJob
    from lkdn_media.sizes import SizeChoice

__all__ = ["main"]

log = logging.getLogger(__name__)
#: Pictures on the page of ``--compare``, at most.
SHOWN: Final = 8
#: Pixels of a picture, where there is no limit.
MOST: Final = 2**62


def main(argv: list[str] | None = None) -> int:
    """Enlarge pictures; returns the exit code: 0, 1 some failed, 2 usage, 130 Ctrl-C."""
    parser = Parser(
        prog="lkdn-image",
        description="Enlarge pictures with a network. PNG and TIFF (8 and 16 bits), JPEG, WebP, "
        "AVIF and BMP; transparency, colour profile, EXIF and resolution are kept. Folders are "
        "walked, and their tree is kept under OUT; links to folders are not followed, hidden names "
        "left out.",
        epilog="Exit code: 0 done, 1 some pictures failed, 2 wrong arguments, 130 interrupted.",
    )
    parser.add_argument("input", nargs="+", metavar="IN", help="files, folders or patterns (*.png)")
    parser.add_argument("output", metavar="OUT", help="a file, or a folder/ for many")
    network = parser.add_argument_group("network")
    add_scale_option(network)
    add_engine_options(network)
    add_size_options(parser.add_argument_group("final size, as shown, of each picture"))
    files = parser.add_argument_group("files")
    formats = ("png", "jpg", "webp", "avif", "tif", "bmp")
    files.add_argument("--format", choices=formats, help="of files in a folder (default: as IN)")
    files.add_argument("--quality", type=int, default=95, help="lossy formats: 1 to 100 (95)")
    files.add_argument("--lossless", action="store_true", help="WebP without loss")
    files.add_argument("--no-recursion", action="store_true", help="don't look into folders in IN")
    files.add_argument(
        "--max-megapixels", type=float, default=256, help="of IN (default 256; inf: any)"
    )
    add_compare_option(parser)
    files.add_argument("-y", "--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--json", action="store_true", help="report as JSON lines on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no summary")
    return run(parser, _upscale, argv, refused=teller_of_refusals(parser.prog, argv))


def _upscale(arguments: argparse.Namespace) -> int:
    reporter = Reporter("lkdn-image", as_json=arguments.json, quiet=arguments.quiet)
    with reporter.events(), Interrupts().caught():
        _check(arguments)
        return _enlarge(arguments, reporter)


def _check(arguments: argparse.Namespace) -> None:
    """Raise ``ArgumentError`` for what can be refused before any file is looked at."""
    whole("quality", arguments.quality, 1, 100)
    if not arguments.max_megapixels > 0:
        raise ArgumentError(f"max_megapixels: above 0 is accepted, got {arguments.max_megapixels}")
    check_engine(arguments)


def _enlarge(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from PIL import Image

    from lkdn_media.image_writers import check_lossless
    from lkdn_media.picture_jobs import plan_jobs

    size, scales, output = size_choice(arguments), scales_of(arguments), Path(arguments.output)
    jobs, skipped, unreadable, others = plan_jobs(
        find_inputs(arguments.input),
        output,
        into_folder=names_folder(arguments.output),
        format=arguments.format,
        recursive=not arguments.no_recursion,
        overwrite=arguments.overwrite,
    )
    if arguments.lossless:
        check_lossless(job.target for job in jobs)
    done: list[PictureJob] = []
    by: Counter[str] = Counter()
    errors: list[LKDNError] = []
    if arguments.compare:
        files = [path for job in jobs for path in (job.source, job.target)]
        check_page(arguments.compare, files, overwrite=arguments.overwrite)
    Image.MAX_IMAGE_PIXELS = None  # read_still has a limit of its own
    if others:
        _tell_others(others)

    def fail(error: LKDNError, facts: dict[str, object]) -> None:
        errors.append(error)
        reporter.tell_error(error, facts)
        say("lkdn-image", message(error))

    for error in unreadable:
        fail(error, {})
    hidden = arguments.quiet or arguments.json
    with bar(total=len(jobs), unit="pictures", hidden=hidden, fractions=True) as shown:

        def progress(share: float) -> None:
            shown.update(share * len(jobs) - shown.n)

        for job, failure, network in _run(jobs, arguments, size, scales, progress):
            facts: dict[str, object] = {"input": str(job.source), "output": str(job.target)}
            if failure is None:
                assert network is not None
                done.append(job)
                by[network.name] += 1
                log.info("%s: by %s", job.target, network)
                reporter.tell("done", facts | network.facts())
            else:
                if sys.stderr.isatty():
                    shown.clear()
                fail(failure, facts)
    if arguments.compare and done:
        _write_page(arguments, done, size, scales)
    numbers = {"done": len(done), "skipped": skipped, "failed": len(errors)}
    alone = len(jobs) == 1 and not (done or unreadable)  # what failed was said
    reporter.tell("summary", numbers, "" if alone else _summary(output, numbers, by))
    if not errors:
        return OK
    return exit_code(errors[0]) if len(jobs) == 1 else FAILED


def _write_page(
    arguments: argparse.Namespace,
    done: "Sequence[PictureJob]",
    size: "SizeChoice",
    scales: Sequence[int],
) -> None:
    from lkdn_media.compare import compare_stills

    pairs = [(job.source, job.target) for job in done[:SHOWN]]
    scale = None if size else max(scales)
    write_page(
        arguments.compare,
        lambda: compare_stills(pairs, scale=scale, fit=size.fit),
        overwrite=arguments.overwrite,
    )


def _summary(output: Path, numbers: Mapping[str, int], by: Counter[str]) -> str:
    """What became of how many pictures, and ``by`` which networks."""
    words = zip(numbers.values(), ("enlarged", "there already", "failed"), strict=True)
    text = f"{output}: " + ", ".join(f"{number} {word}" for number, word in words if number)
    counts = [f"{number} by {name}" for name, number in by.most_common()]
    if len(counts) > 1:
        return f"{text}; {', '.join(counts)}"
    return f"{text}; by {next(iter(by))}" if by else text


def _tell_others(others: Sequence[Path]) -> None:
    from lkdn_media.counts import counted

    endings = sorted({path.suffix.lower() for path in others})
    log.warning(
        "warning: %s left alone, not read: %s", counted(len(others), "picture"), ", ".join(endings)
    )


def _run(
    jobs: "Sequence[PictureJob]",
    arguments: argparse.Namespace,
    size: "SizeChoice",
    scales: Sequence[int],
    progress: "Progress",
) -> "Iterator[Outcome]":
    from lkdn_media.image_writers import Quality
    from lkdn_media.picture_batch import enlarge_files
    from lkdn_media.suited_model import suited_to_still

    asked = asked_network(arguments)
    return enlarge_files(
        jobs,
        cache(partial(make_upscaler, arguments)),
        network_of=suited_to_still if asked is None else lambda _: asked,
        scales=scales,
        size=size,
        quality=Quality(arguments.quality, arguments.lossless),
        max_pixels=round(min(arguments.max_megapixels * 1e6, MOST)),
        progress=progress,
    )
