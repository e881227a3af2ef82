"""AVIF: whether it is there, and what a file says of its samples that Pillow keeps to itself."""

import struct
from typing import Final

from PIL import features

__all__ = ["AVIF", "avif_bits", "avif_cicp"]

#: Whether the installed Pillow reads and writes it.
AVIF: Final = "avif" in features.modules and features.check_module("avif")
#: Bits in a field of the AV1 configuration: more than 8 bits a sample; more than 10.
_DEEP, _DEEPEST = 0x40, 0x20
#: What stands for sRGB, or is taken for it: primaries, and transfers.
_LIKE_SRGB: Final = ({1, 2}, {1, 2, 6, 13})


def avif_bits(data: bytes) -> int:
    """Bits of a sample of the AVIF file ``data``: 8, 10 or 12."""
    found = _property(data, b"av1C", 3)
    if not found or not found[2] & _DEEP:
        return 8
    return 12 if found[2] & _DEEPEST else 10


def avif_cicp(data: bytes) -> bytes:
    """What a ``cICP`` chunk of a PNG holds for the colours of ``data``; ``b""`` for sRGB."""
    found = _property(data, b"colrnclx", 4)
    if not found:
        return b""
    numbers = struct.unpack(">2H", found)
    known = all(number in usual for number, usual in zip(numbers, _LIKE_SRGB, strict=True))
    return b"" if known or max(numbers) > 255 else bytes((*numbers, 0, 1))  # RGB, full range


def _property(data: bytes, kind: bytes, length: int) -> bytes:
    """The first ``length`` bytes of a property; ``b""`` where there is none."""
    meta = _meta(data)
    start = meta.find(kind) + len(kind)
    found = meta[start : start + length]
    return found if start >= len(kind) and len(found) == length else b""


def _meta(data: bytes) -> bytes:
    """The box of the file that describes what is in it."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if kind == b"meta":
            return data[start : start + size]
        if size < 8:  # up to the end of the file, or longer than 4 GiB
            break
        start += size
    return b""
