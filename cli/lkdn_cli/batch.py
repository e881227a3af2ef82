"""Many videos into one folder: which files, under which names, and what became of them."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lkdn_cli.console import FAILED, OK, SALVAGED, OutputError, message, say
from lkdn_cli.progress import Reporter
from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.counts import counted
from lkdn_media.encoders import CONTAINERS
from lkdn_media.folders import new_files, real, walk
from lkdn_media.images import READABLE

if TYPE_CHECKING:
    from lkdn_cli.enlarger import Enlarger

__all__ = ["ENDINGS", "hint_at_pictures", "pair_files", "run_batch"]

log = logging.getLogger(__name__)

#: What is taken for a video in a folder; a file that is named is always taken.
ENDINGS: Final = {
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif"),
    *(".h264", ".h265", ".hevc", ".ivf"),
    *(".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
}


def pair_files(
    inputs: Sequence[Path], output: Path, *, format: str | None = None
) -> tuple[list[tuple[Path, Path]], list[LKDNError]]:
    """Each video among ``inputs``, files and folders, with its path in the folder ``output``.

    A folder's structure is kept. A name gets the ending ``format``, or else keeps its own where
    that names a container we write, and gets ``.mkv`` otherwise. Of folders that can't be read
    there is an error each. Raises ``ArgumentError`` for what `new_files` refuses.
    """
    if format is not None and f".{format}" not in CONTAINERS:
        raise ArgumentError(f"format: {', '.join(CONTAINERS)} are files for -o, got {format}")
    # Methods of ``Path`` would raise where a name is too long.
    if os.path.lexists(output) and not os.path.isdir(output):
        raise ArgumentError(f"output: {output} is not a folder")
    unreadable = list[LKDNError]()
    found = [*_sources(inputs, output, unreadable.append)]
    pairs = new_files(found, lambda name: _ending(name, format), output)
    if not pairs and not unreadable:
        hint = hint_at_pictures(path for folder in inputs for path in folder.iterdir())
        raise ArgumentError(f"input: no video in {', '.join(map(str, inputs))}{hint}")
    return pairs, unreadable


def hint_at_pictures(files: Iterable[Path]) -> str:
    """How pictures make a video, where ``files`` are some, to stand behind a message."""
    if not any(path.suffix.lower() in READABLE for path in files):
        return ""
    return "; for one video of pictures IN is their folder, or %05d.png in it, and OUT a file"


def run_batch(
    pairs: Sequence[tuple[Path, Path]],
    unreadable: Sequence[LKDNError],
    enlarger: "Enlarger",
    reporter: Reporter,
) -> int:
    """Enlarge each source into its target; one that fails does not stop the rest.

    ``unreadable``: what failed before. Returns the exit code: failed if one failed, else salvaged
    if one was.
    """
    counts: Counter[str] = Counter()

    def fail(error: Exception, facts: dict[str, object]) -> None:
        counts["failed"] += 1
        reporter.tell_error(error, facts)
        say("lkdn-video", message(error))

    try:
        for error in unreadable:
            fail(error, {})
        for source, target in pairs:
            facts: dict[str, object] = {"input": str(source), "output": str(target)}
            if enlarger.is_there(source, target):
                counts["skipped"] += 1
                reporter.tell("skipped", facts, f"{target}: is there already; -y overwrites it")
                continue
            try:
                code = enlarger.run(source, target)
                counts["salvaged" if code == SALVAGED else "done"] += 1
            except OutputError:
                raise
            except Exception as error:
                log.info("%s", source, exc_info=error)
                fail(error, facts)
    finally:
        kinds = ("done", "salvaged", "failed", "skipped")
        count = counted(len(pairs) + len(unreadable), "file")
        numbers = {kind: counts[kind] for kind in kinds}
        text = ", ".join(f"{number} {kind}" for kind, number in numbers.items())
        reporter.tell("summary", numbers, f"{count}: {text}")
    if counts["failed"]:
        return FAILED
    return SALVAGED if counts["salvaged"] else OK


def _ending(name: Path, format: str | None) -> str:
    if format is not None:
        return f".{format}"
    return name.suffix if name.suffix.lower() in CONTAINERS else ".mkv"


def _sources(
    inputs: Sequence[Path], output: Path, unreadable: Callable[[LKDNError], object]
) -> Iterator[tuple[Path, Path]]:
    """Each file once, with the relative path it gets."""
    seen: set[Path] = set()
    for path in inputs:
        for source, name in walk(path, ENDINGS, without=output, unreadable=unreadable):
            if real(source) not in seen:
                seen.add(real(source))
                yield source, name
