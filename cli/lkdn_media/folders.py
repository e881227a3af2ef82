"""Files in folders: found in one way, told apart as disks do, and named anew."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = ["new_files", "real", "walk"]


def walk(
    source: Path,
    endings: Collection[str],
    *,
    without: Path,
    unreadable: Callable[[LKDNError], object],
    recursive: bool = True,
) -> Iterator[tuple[Path, Path]]:
    """(file, its name below an output folder), by name: ``source`` itself, or what is in it.

    In a folder, files count whose ending, in small letters, is one of ``endings``. Links to folders
    are not followed, and the folder ``without`` is passed over. So are names that begin with a dot:
    they are hidden, and on disks of a Mac each file has a ``._`` one beside it. Each folder that
    can't be read is told to ``unreadable``.
    """

    def failed(error: OSError) -> None:
        unreadable(LKDNError(f"{error.filename}: can't be read: {error.strerror}"))

    if not os.path.isdir(source):
        yield source, Path(source.name)
        return
    done = real(without)
    for folder, folders, names in os.walk(source, onerror=failed):
        here = Path(folder)
        shown = [name for name in sorted(folders) if not name.startswith(".")]
        kept = [name for name in shown if real(here / name) != done]
        folders[:] = kept if recursive else []
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in endings and _may_be_file(path):
                yield path, path.relative_to(source)


def _may_be_file(path: Path) -> bool:
    """Whether ``path`` is a file, or can't be looked at, which reading it will tell."""
    try:
        return path.is_file()
    except OSError:
        return True


def real(path: Path) -> Path:
    """``path`` without links, as far as they lead anywhere; unlike ``resolve`` it never raises."""
    return Path(os.path.realpath(path))


def new_files(
    found: Sequence[tuple[Path, Path]], ending_of: Callable[[Path], str], output: Path
) -> list[tuple[Path, Path]]:
    """Each of ``found``, see `walk`, once, with the file in ``output`` that it becomes.

    ``ending_of``: the ending of what becomes of a name. Where ``a.png`` and ``a.jpg`` would both
    become ``a.webp``, all keep their whole name: ``a.png.webp``, ``a.jpg.webp``. Raises
    ``ArgumentError`` where two would get one name all the same, or one would overwrite one of
    ``found``, or lie elsewhere than in ``output``.
    """
    pairs = _new_names(found, ending_of, output)
    inputs = {_identity(source): source for source, _ in pairs if os.path.exists(source)}
    for source, target in pairs:
        if not real(target.parent).is_relative_to(real(output)):
            raise ArgumentError(f"output: {target.parent} is a link that leads out of {output}")
        input = inputs.get(_identity(target)) if os.path.exists(target) else None
        if input is not None:
            made = f"{target}, made from {source},"
            raise ArgumentError(f"output: {made} would overwrite the input {input}")
    return pairs


def _new_names(
    found: Sequence[tuple[Path, Path]], ending_of: Callable[[Path], str], output: Path
) -> list[tuple[Path, Path]]:
    wanted = [(source, name, ending_of(name)) for source, name in found]
    short: dict[str, set[Path]] = defaultdict(set)
    for source, name, ending in wanted:
        short[str(name.with_suffix(ending)).casefold()].add(source)
    named = []
    taken, key = dict[str, Path](), _name_key(output)
    for source, name, ending in wanted:
        new = name.with_suffix(ending)
        if len(short[str(new).casefold()]) > 1 and name.suffix.lower() != ending.lower():
            new = name.with_name(name.name + ending)
        target = output / new
        other = taken.setdefault(key(target), source)
        if other is source:
            named.append((source, target))
        elif real(other) != real(source):  # else it was named twice
            raise ArgumentError(f"output: {other} and {source} would both become {target}")
    return named


def _name_key(folder: Path) -> Callable[[Path], str]:
    """A function that gives two names one string where the disk of ``folder`` takes them for one.

    Asked of the disk itself: many take ``A`` and ``a`` for one.
    """
    while not os.path.isdir(folder):
        folder = folder.parent
    with suppress(OSError), NamedTemporaryFile(dir=folder, prefix=".lkdn-a-") as file:
        if os.path.exists(folder / Path(file.name).name.upper()):
            return lambda name: str(name).casefold()
    return str


def _identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common. Raises ``OSError``."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino
