"""``--compare PAGE``, which the commands for videos and pictures share."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from lkdn_cli.console import Parser
from lkdn_core.errors import ArgumentError

__all__ = ["add_compare_option", "check_page", "write_page"]

log = logging.getLogger(__name__)


def add_compare_option(parser: Parser) -> None:
    """Add ``--compare`` to ``parser``."""
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="PAGE.html",
        help="write a page that shows source (bicubic) and result under a slider",
    )


def check_page(page: Path, others: Collection[Path], *, overwrite: bool) -> None:
    """Refuse a page that is there, or that is one of the ``others``. Raises ``ArgumentError``."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"compare: a name ending in .html is accepted, got {page.name!r}")
    if page.resolve() in {other.resolve() for other in others}:
        raise ArgumentError(f"compare: {page} would overwrite another file of this run")
    if page.is_dir():
        raise ArgumentError(f"compare: {page} is a folder")
    if page.exists() and not overwrite:
        raise ArgumentError(f"compare: {page} is there already; -y overwrites it")


def write_page(page: Path, render: Callable[[], str]) -> None:
    """Write what ``render`` gives to ``page``, whole or not at all. Raises ``LKDNError``."""
    from lkdn_media.files import write_whole

    write_whole(page, render().encode())
    log.info("%s: written", page)
