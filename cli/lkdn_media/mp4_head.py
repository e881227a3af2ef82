"""Boxes of MP4, MOV and AVIF (ISO/IEC 14496-12), and of the first two what FFmpeg does not tell."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["boxes", "track_end"]

#: Longer indexes are not read.
_MOST: Final = 2**28


def track_end(path: Path, track: int) -> Fraction | None:
    """Seconds of the file's clock at which what ``track`` shows ends, by the head of the file.

    ``None`` where it isn't said, as in fragments, or is damaged.
    """
    try:
        with path.open("rb") as file:
            index = list(boxes(_index(file)))
        movie = dict(index)[b"mvhd"]
        scale = struct.unpack_from(">I", movie, 20 if movie[0] else 12)[0]
        heads = [dict(boxes(box))[b"tkhd"] for name, box in index if name == b"trak"]
        for head in heads:
            wide = head[0] == 1
            number, _, duration = struct.unpack_from(
                ">IIQ" if wide else ">III", head, 20 if wide else 12
            )
            if number == track and 0 < duration < 2 ** (64 if wide else 32) - 1:
                return Fraction(duration, scale)
    except (OSError, KeyError, IndexError, struct.error, ZeroDivisionError):
        pass
    return None


def _index(file: BinaryIO) -> bytes:
    """The content of ``moov``, ``b""`` where there is none."""
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        length -= 8
        if length == -7:  # the true one follows
            length = int.from_bytes(file.read(8)) - 16
        if name == b"moov" and 0 <= length < _MOST:
            return file.read(length)
        if length < 0:  # the last one, or damaged
            break
        file.seek(length, 1)
    return b""


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the boxes in ``data``, up to one without a length of its own."""
    place = 0
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if length < 8:
            return
        yield name, data[place + 8 : place + length]
        place += length
