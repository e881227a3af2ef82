"""The parts of a JPEG file (ITU-T T.81, annex B)."""

import re
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["IPTC_RESOURCE", "behind_picture", "has_extended_xmp", "iptc_segment", "picture_bytes"]

_START_OF_SCAN, _END, _APP1, _APP13, _COMMENT = 0xDA, 0xD9, 0xE1, 0xED, 0xFE
_LABELS: Final = (*range(0xE0, 0xF0), _COMMENT)
#: What ends the samples of a scan: a marker that neither stands for 255 nor for a restart.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXTENDED_XMP: Final = b"http://ns.adobe.com/xmp/extension/\0"
#: What Photoshop's resource of captions and keywords is called.
IPTC_RESOURCE: Final = 0x0404


def picture_bytes(data: bytes) -> int:
    """How many bytes the first picture of a file takes, without its labels."""
    return sum(end - start for marker, start, end in _parts(data) if marker not in _LABELS)


def behind_picture(data: bytes) -> int:
    """How many bytes of a file lie behind its first picture."""
    return len(data) - max((end for _, _, end in _parts(data)), default=0)


def has_extended_xmp(data: bytes) -> bool:
    """Whether XMP goes on in further segments, as where it is longer than 64 kB."""
    return any(
        marker == _APP1 and data.startswith(_EXTENDED_XMP, start + 4)
        for marker, start, _ in _parts(data)
    )


def iptc_segment(iptc: bytes) -> bytes:
    """A segment with captions and the like, the way Photoshop and all since it keep them."""
    resource = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc
    content = b"Photoshop 3.0\0" + resource + b"\0" * (len(iptc) % 2)
    return bytes((0xFF, _APP13)) + struct.pack(">H", len(content) + 2) + content


def _parts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, beginning and end of each part of the first picture; samples belong to their scan."""
    place = 2
    while place + 2 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a filling
            place += 1
            continue
        if marker == _END:
            yield marker, place, place + 2
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == _START_OF_SCAN:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, place, end
        place = end
