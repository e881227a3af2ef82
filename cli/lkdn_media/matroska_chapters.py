"""Chapters of a finished Matroska file as another one has them: nested, in editions, in languages.

FFmpeg's writer has one row of them, each with one name.
"""

from pathlib import Path
from typing import Final
from zlib import crc32

from lkdn_core.errors import LKDNError
from lkdn_media.ebml import (
    CRC,
    SEEK_HEAD,
    SEGMENT,
    VOID,
    element,
    expect,
    places,
    seek_entry,
    seek_to,
    void,
)

__all__ = ["CHAPTERS", "write_chapters"]

CHAPTERS: Final = b"\x10\x43\xa7\x70"
#: Bytes that FFmpeg gives to the size of the segment.
_SIZE: Final = 8


def write_chapters(path: Path, contents: bytes) -> None:
    """Give ``path``, a file by FFmpeg, an element of chapters with ``contents`` for its own.

    It comes last in the file, and the index at the start points there. Raises ``LKDNError`` where
    the file is not as FFmpeg writes it.
    """
    with path.open("r+b") as file:
        seek_to(file, SEGMENT)
        start = file.tell()
        file.seek(start - _SIZE)
        if file.read(_SIZE)[:1] != b"\x01":
            raise LKDNError(f"{path}: not a Matroska file that can be added to")
        index = expect(file, SEEK_HEAD)
        expect(file, VOID)  # room for more entries
        room = file.tell() - start
        entries = dict(places(index))
        if CHAPTERS in entries:
            file.seek(start + entries[CHAPTERS])
            expect(file, CHAPTERS)
            size = file.tell() - start - entries[CHAPTERS]
            file.seek(-size, 1)
            file.write(void(size))
        entries[CHAPTERS] = file.seek(0, 2) - start
        file.write(element(CHAPTERS, contents))
        size = file.tell() - start
        file.seek(start + 1 - _SIZE)  # behind the byte that tells the length of the size
        file.write(size.to_bytes(_SIZE - 1))
        body = b"".join(seek_entry(*entry) for entry in entries.items())
        new = element(SEEK_HEAD, element(CRC, crc32(body).to_bytes(4, "little")), body)
        file.write(new + void(room - len(new)))
