"""AVIF: whether it is there, and what a file says of its samples that Pillow keeps to itself."""

import struct
from typing import Final

from PIL import features

from lkdn_media.mp4_head import boxes

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
    meta = next((content for name, content in boxes(data) if name == b"meta"), b"")
    start = meta.find(kind) + len(kind)
    found = meta[start : start + length]
    return found if start >= len(kind) and len(found) == length else b""
