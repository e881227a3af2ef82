"""What names on a command line stand for: files, patterns of names, folders."""

import os
import re
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Final

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = ["find_inputs", "names_folder"]

#: How an address begins; one letter and a colon would be a disk.
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: What makes a name a pattern.
_PATTERN: Final = re.compile(r"[*?]|\[.+\]")


def find_inputs(names: Iterable[str]) -> list[Path]:
    """What ``names`` stand for: themselves, or the files and folders that a pattern matches.

    Most shells fill in ``*``, ``?`` and ``[]`` before a program sees them. What is there under such
    a name is meant first. Raises ``ArgumentError`` for addresses, and ``LKDNError`` where nothing
    matches.
    """
    return [path for name in names for path in _found(name)]


def names_folder(name: str) -> bool:
    """Whether ``name`` can only be that of a folder, there or not: it ends in a slash."""
    return name.endswith(("/", os.sep))


def _found(name: str) -> list[Path]:
    from lkdn_media.targets import is_pattern

    if os.path.lexists(name):
        return [Path(name)]
    if _ADDRESS.match(name):
        raise ArgumentError(f"input: files and folders are accepted, no addresses, got {name}")
    if not _PATTERN.search(name) or is_pattern(Path(name)):  # numbered pictures
        return [Path(name)]
    found = sorted(glob(name))
    if not found:
        raise LKDNError(f"{name}: no such file, and none that matches it")
    return [Path(path) for path in found]
