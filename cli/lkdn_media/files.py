"""Files that lie beside their place until they are whole."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import Final

import av

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = [
    "LONGEST_NAME",
    "check_free",
    "check_place",
    "check_there",
    "followed",
    "part_file",
    "part_of",
    "take_name",
    "whole_file",
    "write_whole",
    "writing_to",
]

#: On files this bit means nothing; here it tells what a killed run left from a file of somebody's.
_OURS: Final = stat.S_ISVTX
#: Windows has no such bit, and renames no file that is open.
_MARKS: Final = os.name != "nt"
#: Bytes of a name that file systems allow, and of one that still takes an ending of ours.
_MOST: Final = 255
LONGEST_NAME: Final = 240


def part_of(target: Path) -> Path:
    """Where what becomes ``target`` lies until it is whole, unless somebody's file is there."""
    return target.parent / (target.name + ".part")


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn an error in writing into ``LKDNError``, which says what file it belongs to."""
    try:
        yield
    except LKDNError:  # some are OSErrors too
        raise
    except FileExistsError as error:  # where a folder is to be made
        raise LKDNError(f"{target}: can't be written: {error.filename} is in the way") from error
    except (av.FFmpegError, OSError) as error:
        raise LKDNError(f"{target}: can't be written: {error.strerror}") from error


def check_free(target: Path, *, overwrite: bool, argument: str = "output") -> None:
    """Refuse a ``target`` that is there already. Raises ``ArgumentError``.

    With ``overwrite`` a file may be, but no named pipe, whose reader would wait for ever.
    """
    if os.path.exists(target) and not target.is_file():
        raise ArgumentError(f"{argument}: {target} is there already, and no file")
    if os.path.exists(target) and not overwrite:
        raise ArgumentError(f"{argument}: {target} is there already; -y overwrites it")


def check_there(source: Path) -> None:
    """Raise ``LKDNError`` for what is missing; what may not be looked at is told by its reader."""
    try:
        source.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LKDNError(f"{source}: no such file") from error
    except OSError:
        pass


def check_place(argument: str, path: Path) -> None:
    """Raise ``LKDNError`` that names ``argument`` where no file ``path`` can be made; makes none.

    Folders that are missing are none to complain of: they are made when needed.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with suppress(FileNotFoundError):
            path.lstat()  # or the name is too long
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError(errno.EINVAL, "it is there already, and no file")
        folder = path.parent
        while not folder.exists() and not folder.is_symlink():
            folder = folder.parent
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LKDNError(f"{argument}: {path} can't be written: {error.strerror}") from error


def followed(target: Path) -> Path:
    """The file that is written for ``target``: where that is a link, what it stands for.

    Raises ``LKDNError`` where it stands for itself.
    """
    if not os.path.islink(target):  # methods of ``Path`` raise where a name is too long
        return target
    real = Path(os.path.realpath(target))
    if os.path.islink(real):
        raise LKDNError(f"{target}: can't be written: {os.strerror(errno.ELOOP)}")
    return real


@contextmanager
def part_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new file beside ``target`` that takes its name at the end, or goes away after an error.

    It is `part_of` it, in place of what a killed run left there; where something else is there,
    that stays, and the new file gets a name of its own. Raises ``LKDNError``, also where something
    came to be at ``target`` meanwhile, unless ``overwrite``.
    """
    with (
        writing_to(target),
        _free_part(target) as part,
        _becoming(target, part, overwrite=overwrite),
    ):
        yield part


@contextmanager
def whole_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """As `part_file`, under a name that nothing else has, in folders made when needed."""
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _becoming(target, _unique_part(target), overwrite=overwrite) as part:
            yield part


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write ``data`` to ``path``, in folders made when needed. Raises as `part_file` does."""
    with whole_file(path, overwrite=overwrite) as part:
        part.write_bytes(data)


@contextmanager
def _becoming(target: Path, part: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give ``part``, a new file, the name ``target`` at the end; remove it after an error.

    It gets the permissions of a file that it replaces.
    """
    try:
        yield part
        # Else a power failure could leave the name without what it stands for.
        with part.open("r+b") as file:  # Windows syncs nothing that is open to be read alone
            os.fsync(file.fileno())
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            usual = mode & ~_OURS
            wanted = _permissions(target, usual) if overwrite else usual
            if wanted != mode:
                os.fchmod(file.fileno(), wanted)
        take_name(part, target, overwrite=overwrite)
    finally:
        with suppress(OSError):  # the error before it says more
            part.unlink(missing_ok=True)


def _permissions(target: Path, usual: int) -> int:
    """Who may do what with the file ``target``; ``usual`` where there is none."""
    try:
        mode = target.lstat().st_mode
    except OSError:
        return usual
    return stat.S_IMODE(mode) & 0o777 if _MARKS and stat.S_ISREG(mode) else usual


def take_name(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give ``part`` the name ``target``. Raises ``OSError``, and ``LKDNError`` where that is taken.

    Without ``overwrite`` ``part`` may stay as a second name.
    """
    if overwrite:
        os.replace(part, target)
        return
    taken = LKDNError(f"{target}: is there by now; -y overwrites it")
    try:
        os.link(part, target)  # which, unlike a rename, replaces nothing
    except FileExistsError:
        raise taken from None
    except OSError:  # some disks have no links
        if os.path.lexists(target):
            raise taken from None
        os.replace(part, target)


@contextmanager
def _free_part(target: Path) -> Iterator[Path]:
    """`part_of` ``target`` as a new file, or else one of another name. Raises ``OSError``."""
    part = part_of(target)
    if not _MARKS or len(os.fsencode(part.name)) > _MOST or not _remove_leftover(part):
        yield _unique_part(target)
        return
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 | _OURS)
    try:
        _lock(descriptor)
        yield part
    finally:
        os.close(descriptor)


def _remove_leftover(part: Path) -> bool:
    """Whether nothing is at ``part``, now that what a killed run left is gone."""
    try:
        mode = part.lstat().st_mode
        if not (stat.S_ISREG(mode) and mode & _OURS):
            return False
        descriptor = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        _lock(descriptor)
        part.unlink()
    except BlockingIOError:  # that run goes on
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> None:
    """Hold a file until it is closed. Raises ``BlockingIOError`` where another run holds it."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):  # Windows, and some network disks, have no such locks
        return


def _unique_part(target: Path) -> Path:
    """A new file beside ``target`` whose name begins likewise and ends in ``.part``.

    Raises ``OSError``.
    """
    name = os.fsdecode(os.fsencode(target.name)[:LONGEST_NAME])
    part = target.parent / f"{name}.{token_hex(4)}.part"
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return part
