"""Files in folders: found in one way, and told apart as disks do."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["file_identity", "folded", "walk"]


def walk(
    source: Path, endings: Collection[str], *, without: Path, recursive: bool = True
) -> Iterator[tuple[Path, Path]]:
    """(file, its name below an output folder), by name: ``source`` itself, or what is in it.

    In a folder, files count whose ending, in small letters, is one of ``endings``. Links to folders
    are not followed, and the folder ``without`` is passed over. So are names that begin with a dot:
    they are hidden, and on disks of a Mac each file has a ``._`` one beside it.
    """
    if not source.is_dir():
        yield source, Path(source.name)
        return
    done = without.resolve()
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        shown = [name for name in sorted(folders) if not name.startswith(".")]
        kept = [name for name in shown if (here / name).resolve() != done]
        folders[:] = kept if recursive else []
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in endings and path.is_file():
                yield path, path.relative_to(source)


def folded(name: Path) -> str:
    """``name`` as file systems see it that take A and a for one."""
    return str(name).casefold()


def file_identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common. Raises ``OSError``."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino
