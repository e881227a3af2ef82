"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

__all__ = ["naming", "replacing"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an ``OSError`` that names no file, as of a full disk, the name ``path``."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``target`` at the end, or goes after an error.

    Makes the folder. Raises ``OSError``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Close without deleting: the rename moves the file away when it is right.
    prefix = f"{target.name}."
    with (
        naming(target),
        NamedTemporaryFile(dir=target.parent, prefix=prefix, suffix=".part", delete=False) as part,
    ):
        try:
            yield part
            part.flush()
            os.fsync(part.fileno())  # else a power failure could leave the name without its content
            part.close()
            # Only its owner may read a temporary file; this one becomes a file like any other.
            umask = os.umask(0o077)  # cannot be read in another way
            os.umask(umask)
            os.chmod(part.name, 0o666 & ~umask)
            os.replace(part.name, target)
        finally:
            with suppress(OSError):  # the error before it says more
                part.close()
            Path(part.name).unlink(missing_ok=True)
