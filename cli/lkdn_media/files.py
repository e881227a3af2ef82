"""Files that lie beside their place until they are whole."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from lkdn_core.errors import LKDNError

__all__ = ["part_file", "part_of", "write_json", "write_whole", "writing_to"]


def part_of(target: Path) -> Path:
    """Where what becomes ``target`` lies until it is whole."""
    return target.parent / (target.name + ".part")


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn an error in writing into ``LKDNError``, which says what file it belongs to."""
    try:
        yield
    except FileExistsError as error:  # where a folder is to be made
        raise LKDNError(f"{target}: can't be written: {error.filename} is in the way") from error
    except (av.FFmpegError, OSError) as error:
        raise LKDNError(f"{target}: can't be written: {error.strerror}") from error


@contextmanager
def part_file(target: Path) -> Iterator[Path]:
    """A new file beside ``target`` that takes its name at the end, or goes away after an error.

    Raises ``LKDNError``.
    """
    with writing_to(target), _part(target) as part:
        yield part


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, in folders made when needed. Raises ``LKDNError``."""
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part(path) as part:
            part.write_bytes(data)


def write_json(path: Path, content: object) -> None:
    """Write ``content`` to ``path``. Raises ``OSError``."""
    with _part(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    part = part_of(target)
    part.unlink(missing_ok=True)  # it may be a link to somewhere else
    part.touch(exist_ok=False)
    try:
        yield part
        # Else a power failure could leave the name without what it stands for.
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        with suppress(OSError):  # the error before it says more
            part.unlink(missing_ok=True)
