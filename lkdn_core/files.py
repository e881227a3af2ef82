"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

__all__ = ["naming", "replacing"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an ``OSError`` that names no file, as of a full disk, the name ``path``.

    One of a file that could not be renamed gets it too.
    """
    try:
        yield
    except OSError as error:
        if error.errno and (error.filename is None or error.filename2 is not None):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``target`` at the end, or goes after an error.

    Makes the folder. Raises ``OSError``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{token_hex(4)}.part")
    with naming(target), open(part, "xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power failure could leave the name without its content
            file.close()
            os.replace(part, target)
        finally:
            with suppress(OSError):  # the error before it says more
                file.close()
            part.unlink(missing_ok=True)
