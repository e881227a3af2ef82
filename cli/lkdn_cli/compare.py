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
    """Refuse a page that is there, or that is one of the ``others``.

    Raises ``ArgumentError``, and ``LKDNError`` where it can't be written.
    """
    from lkdn_media.files import check_free, check_place
    from lkdn_media.folders import real

    if page.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"compare: a name ending in .html is accepted, got {page.name!r}")
    if real(page) in {real(other) for other in others}:
        raise ArgumentError(f"compare: {page} would overwrite another file of this run")
    check_free(page, overwrite=overwrite, argument="compare")
    check_place("compare", page)


def write_page(page: Path, render: Callable[[], str], *, overwrite: bool) -> None:
    """Write what ``render`` gives to ``page``, whole or not at all. Raises ``LKDNError``."""
    from lkdn_media.files import followed, write_whole

    # A name of a file need not be text.
    content = render().encode(errors="backslashreplace")
    write_whole(followed(page), content, overwrite=overwrite)
    log.info("%s: written", page)
