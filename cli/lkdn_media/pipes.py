"""Pictures without a file: y4m or bare samples on standard input and output."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import av
from av.container import InputContainer

from lkdn_core.errors import ArgumentError, LKDNError, why_not_piped

__all__ = ["PIPE", "PIPE_FORMATS", "RawVideo", "size_of_pipe", "stdin_opener", "stdout_video"]

#: The name that stands for standard input or output.
PIPE: Final = Path("-")
#: Muxers by the word for them.
PIPE_FORMATS: Final = {"y4m": "yuv4mpegpipe", "rawvideo": "rawvideo"}


@dataclass(frozen=True, slots=True)
class RawVideo:
    """What bare samples don't say of themselves: size, FFmpeg's pixel format, frames a second."""

    width: int
    height: int
    pix_fmt: str
    frame_rate: Fraction


def stdin_opener(stream: BinaryIO | None, raw: RawVideo | None) -> Callable[[], InputContainer]:
    """A function that opens what comes in ``stream``: y4m, or samples as ``raw`` says.

    It can be called twice: once to look at the first frames, then to read all. Raises
    ``LKDNError``, and ``ArgumentError`` for a terminal.
    """
    if stream is None:
        raise LKDNError("standard input: is closed")
    if stream.isatty():
        raise ArgumentError("input: - reads y4m from a pipe, and this is a terminal")
    tape = _Tape(stream)

    def opened() -> InputContainer:
        options = {}
        if raw is not None:
            options = {
                "video_size": f"{raw.width}x{raw.height}",
                "pixel_format": raw.pix_fmt,
                "framerate": str(raw.frame_rate),
            }
        name = PIPE_FORMATS["y4m" if raw is None else "rawvideo"]
        tape.rewind()
        try:
            return av.open(tape, "r", format=name, container_options=options)
        except (av.FFmpegError, ValueError) as error:
            wanted = "y4m; bare samples need --raw"
            if tape.is_mixed():
                wanted = "y4m of one kind of fields: p, t or b is accepted, got Im, a mixture"
            if raw is not None:
                wanted = f"video of {raw.width}x{raw.height} {raw.pix_fmt}"
            raise LKDNError(f"standard input: is not {wanted}") from error

    return opened


def size_of_pipe(container: InputContainer) -> int:
    """Bytes of ``container``, opened by `stdin_opener`, so far; at its end those of all it is."""
    tape = container.file.file
    assert isinstance(tape, _Tape)
    return tape.taken


class _Tape:
    """A stream that can be read from its start once more; until then it is recorded.

    ``taken``: how many bytes were handed out since it was opened or rewound.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._recorded = bytearray()
        self._opened = 0
        self._place = 0
        self.taken = 0

    def rewind(self) -> None:
        """Begin again."""
        self._opened += 1
        assert self._opened <= 2, "a pipe is looked at once and read once"
        self._place = self.taken = 0

    def is_mixed(self) -> bool:
        """Whether it is y4m whose frames say one by one what they are, which FFmpeg can't read."""
        head = self._recorded.partition(b"\n")[0]
        return head.startswith(b"YUV4MPEG2 ") and b"Im" in head.split()

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end."""
        data = self._next(size)
        self.taken += len(data)
        return data

    def _next(self, size: int) -> bytes:
        data = bytes(self._recorded[self._place : self._place + size])
        if data:
            self._place += len(data)
            if self._opened == 2 and self._place >= len(self._recorded):
                self._recorded.clear()
                self._place = 0
            return data
        data = self._stream.read(size)
        if self._opened == 1:
            self._recorded += data
            self._place += len(data)
        return data


class _Output:
    """A pipe that is given all of what is written, though it may take less at a time.

    ``shape``: of the pixels, put into the head of a y4m stream, where PyAV can't; ``None`` is none.
    """

    def __init__(self, file: BinaryIO, shape: Fraction | None) -> None:
        self._file = file
        self._shape = shape

    def write(self, data: bytes) -> int:
        """Write ``data``."""
        left = memoryview(data)
        if self._shape is not None:
            # The first piece has the whole head in it.
            ratio = b" A%d:%d " % (self._shape.numerator, self._shape.denominator)
            left, self._shape = memoryview(bytes(data).replace(b" A0:0 ", ratio, 1)), None
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise LKDNError(f"standard output: {why_not_piped(error)}") from error
        return len(data)


@contextmanager
def stdout_video(shape: Fraction | None) -> Iterator["_Output"]:
    """Standard output for pictures alone: what else is printed meanwhile goes to stderr.

    ``shape``: of the pixels, where a y4m stream is written. Raises ``ArgumentError`` for a
    terminal. Writing raises ``LKDNError`` when the reader goes away, or a disk is full.
    """
    if not sys.stdout:
        raise LKDNError("standard output: is closed")
    if sys.stdout.isatty():
        raise ArgumentError("output: - writes video to a pipe, and this is a terminal")
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    file = os.fdopen(own, "wb", buffering=0)
    try:
        yield _Output(file, shape)
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        with suppress(OSError):
            file.close()
