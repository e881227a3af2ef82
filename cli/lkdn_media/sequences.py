"""Videos as picture files: ``frames/%05d.png``, or all pictures of a folder."""

import logging
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from filelock import FileLock, Timeout

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.counts import counted
from lkdn_media.damage import Damage
from lkdn_media.files import part_of, take_name
from lkdn_media.frame_pictures import check_pictures
from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import READABLE, Still
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.targets import NUMBER, is_pattern

__all__ = ["SequenceWriter", "check_sequence", "sequence_opener"]

log = logging.getLogger(__name__)
WRITING_THREADS: Final = 4
_LOCK: Final = "lock"
#: Nothing else is to be opened in the name of a picture, such as a playlist.
_DEMUXERS: Final = (
    "concat",
    "image2",
    *(f"{kind}_pipe" for kind in ("png", "jpeg", "webp", "tiff", "bmp")),
)
#: FFmpeg's readers of pictures know no AVIF.
_ENDINGS: Final = tuple(ending for ending in READABLE if ending != ".avif")


def sequence_opener(path: Path, rate: Fraction) -> Callable[[], InputContainer]:
    """A function that opens a folder or a pattern as a video of ``rate`` frames a second.

    The pictures of a folder come in the order of their names. Raises ``LKDNError`` where some are
    missing, or the order is not clear.
    """
    return _folder(path, rate) if path.is_dir() else _numbered(path, rate)


def _open(path: Path, file: str | BytesIO, demuxer: str, options: dict[str, str]) -> InputContainer:
    wanted = options | {"protocol_whitelist": "file"}
    try:
        return av.open(file, "r", format=demuxer, container_options=wanted)
    except (av.FFmpegError, ValueError) as error:
        raise LKDNError(f"{path}: its pictures can't be read") from error


def _folder(folder: Path, rate: Fraction) -> Callable[[], InputContainer]:
    shown = (p for p in folder.iterdir() if not p.name.startswith("."))
    files = [p for p in shown if p.suffix.lower() in _ENDINGS]
    check_pictures(files)
    endings = sorted({p.suffix for p in files})
    if len(endings) != 1:
        kinds = ", ".join(endings) or f"none ({', '.join(_ENDINGS)})"
        raise LKDNError(f"{folder}: pictures of one ending make a video, found {kinds}")
    names = sorted(p.name for p in files)
    if names != sorted(names, key=_natural):
        raise LKDNError(
            f"{folder}: {names[0]}, {names[1]}, ... are not in the order of their numbers; name "
            f"them as {folder}/%d{endings[0]} does, or pad the numbers with zeros"
        )
    pattern, first = _pattern(names)
    if pattern is not None:
        return _sequence(folder / pattern, first, rate)
    # FFmpeg has patterns with a star too, but not on Windows. This decodes each picture once more.
    listed = _listed([folder.resolve() / name for name in names], rate)
    options = {"safe": "0", "format_whitelist": ",".join(_DEMUXERS)}
    return lambda: _open(folder, BytesIO(listed), "concat", options)


def _pattern(names: list[str]) -> tuple[str | None, int]:
    """The pattern that stands for ``names``, and the first number.

    ``None`` and 0 where the numbers have gaps, or there are none.
    """
    found = re.fullmatch(r"([^%]*?)([0-9]+)([^%0-9]*)", names[0])
    if found is not None:
        before, start, after = found.groups()
        pattern, first = f"{before}%0{len(start)}d{after}", int(start)
        if names == [pattern % number for number in range(first, first + len(names))]:
            return pattern, first
    return None, 0


def _listed(files: list[Path], rate: Fraction) -> bytes:
    """What FFmpeg's ``concat`` reads: ``files`` at ``rate``, the times rounded to microseconds.

    Raises ``LKDNError``.
    """
    script = ["ffconcat version 1.0"]
    times = [round(number * 1_000_000 / rate) for number in range(len(files) + 1)]
    for file, (start, end) in zip(files, pairwise(times), strict=True):
        if set(str(file)) & {"\n", "\r"}:
            raise LKDNError(f"{file}: pictures whose names have a line break make no video")
        quoted = str(file).replace("'", r"'\''")
        script += [f"file '{quoted}'", f"option framerate {rate}", f"duration {end - start}us"]
    return os.fsencode("\n".join(script))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _numbered(pattern: Path, rate: Fraction) -> Callable[[], InputContainer]:
    found = _matching(pattern)
    numbers = sorted(found)
    if not numbers:
        raise LKDNError(f"{pattern}: no such pictures")
    missing = next((here + 1 for here, after in pairwise(numbers) if after > here + 1), None)
    if missing is not None:
        raise LKDNError(f"{pattern}: number {missing} of {numbers[-1]} is missing")
    check_pictures(found.values())
    return _sequence(pattern, numbers[0], rate)


def _sequence(pattern: Path, first: int, rate: Fraction) -> Callable[[], InputContainer]:
    # FFmpeg takes every other per cent sign for one of its own, unless it is doubled.
    before, after = (part.replace("%", "%%") for part in NUMBER.split(pattern.name)[::2])
    number = NUMBER.search(pattern.name)
    assert number is not None
    folder = str(pattern.parent.resolve()).replace("%", "%%")
    name = f"{folder}/{before}{number[0]}{after}"
    options = {"start_number": str(first), "pattern_type": "sequence", "framerate": str(rate)}
    return lambda: _open(pattern, name, "image2", options)


def _matching(pattern: Path) -> dict[int, Path]:
    """The files that ``pattern`` stands for, by number."""
    before, width, after = NUMBER.split(pattern.name)
    digits = rf"\d{{{width},}}" if width else r"\d+"
    form = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    if not pattern.parent.is_dir():
        return {}
    found = ((form.fullmatch(path.name), path) for path in pattern.parent.iterdir())
    return {int(match[1]): path for match, path in found if match and path.is_file()}


def _pictures(source: Path) -> Iterable[Path]:
    """The files of a folder or a pattern; none of anything else."""
    if source.is_dir():
        return source.iterdir()
    return _matching(source).values() if is_pattern(source) else ()


def check_sequence(source: Path, pattern: Path, *, overwrite: bool) -> None:
    """Refuse to write pictures where some are, or over those of ``source``.

    Raises ``ArgumentError``.
    """
    there = _matching(pattern)
    inputs = {path.resolve() for path in _pictures(source)}
    for path in there.values():
        if path.resolve() in inputs:
            raise ArgumentError(f"output: {pattern} would overwrite the input {path}")
    if there and not overwrite:
        raise ArgumentError(f"output: {min(there.values())} is there already; -y overwrites it")


class SequenceWriter:
    """Writes the pictures of ``plan`` as files, numbered from 1.

    They lie in a folder of their own until `finish`, which puts them in their place, where only
    ``overwrite`` replaces any. Everything may raise ``OSError``, and `finish` ``LKDNError``.
    """

    def __init__(self, plan: Plan, pattern: Path, *, overwrite: bool) -> None:
        self._plan, self._pattern, self._overwrite = plan, pattern, overwrite
        self._writer = WRITERS[pattern.suffix.lower()]
        self._part = part_of(pattern)
        self._pool = ThreadPoolExecutor(WRITING_THREADS)
        self._pending: deque[Future[None]] = deque()
        self.frames = 0
        self.damage = Damage()
        self._folder_is_ours = not pattern.parent.exists()
        self._part.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._part / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LKDNError(f"{pattern}: another process is writing it") from None
        for path in self._part.iterdir():  # of a run that was killed
            if path.name != _LOCK:
                path.unlink()

    def write(self, picture: Picture) -> None:
        """Write one enlarged picture."""
        self.frames += 1
        planes = [*picture.planes]
        if self._plan.alpha and picture.alpha is not None:
            planes.append(picture.alpha)
        still = Still(np.stack(planes, 2))
        while len(self._pending) > WRITING_THREADS:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._save, still, self.frames))

    def finish(self) -> None:
        """Wait for all pictures and move them to their names."""
        while self._pending:
            self._pending.popleft().result()
        self._pool.shutdown()
        for number in range(1, self.frames + 1):
            name = self._name(number)
            take_name(self._part / name, self._pattern.parent / name, overwrite=self._overwrite)
        self._remove()
        older = len(_matching(self._pattern)) - self.frames
        if older:
            count = counted(older, "older picture")
            log.warning("warning: %s: left beside the new ones: %s", self._pattern, count)

    def abandon(self) -> None:
        """Take away what was written."""
        self._pool.shutdown(cancel_futures=True)
        self._remove()
        if self._folder_is_ours:
            with suppress(OSError):  # something else may be in it by now
                self._pattern.parent.rmdir()

    def _remove(self) -> None:
        self._lock.release()
        shutil.rmtree(self._part, ignore_errors=True)

    def _save(self, still: Still, number: int) -> None:
        (self._part / self._name(number)).write_bytes(self._writer.encode(still, Quality()))

    def _name(self, number: int) -> str:
        return NUMBER.sub(lambda found: found[0] % number, self._pattern.name)
