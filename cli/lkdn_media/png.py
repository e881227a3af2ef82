"""Chunks of PNG files (ISO/IEC 15948), and of APNG."""

import os
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

__all__ = ["PNG_SIGNATURE", "png_chunk", "png_chunks", "write_last_delay"]

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: The chunk that says how a picture of an animation is shown; its fields, its delay.
_CONTROL: Final = b"fcTL"
_CONTROL_SIZE: Final = 26
_DELAY: Final = slice(20, 24)
#: What its numerator and denominator have room for.
_MOST: Final = 2**16 - 1


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A whole chunk of a PNG file, of which ``data`` is the content."""
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, whole chunk) of a PNG file up to where it ends or is damaged."""
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        chunk = data[start : start + length + 12]
        if len(chunk) < length + 12:
            return
        yield name, chunk
        start += length + 12


def write_last_delay(path: Path, delay: Fraction) -> None:
    """Show the last picture of the APNG file at ``path`` for ``delay`` seconds.

    The muxer repeats the delay before it, or has to know this one before all pictures.
    """
    with path.open("r+b") as file:
        file.seek(len(PNG_SIGNATURE))
        last = None
        while len(head := file.read(8)) == 8:
            last = file.tell() if head[4:] == _CONTROL else last
            file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
        if last is None:  # a single picture is no animation
            return
        file.seek(last)
        fields = bytearray(file.read(_CONTROL_SIZE))
        delay = min(delay, Fraction(_MOST))
        delay = delay.limit_denominator(int(_MOST / max(Fraction(1), delay)))
        fields[_DELAY] = delay.numerator.to_bytes(2) + delay.denominator.to_bytes(2)
        file.seek(last - 8)
        file.write(png_chunk(_CONTROL, bytes(fields)))
