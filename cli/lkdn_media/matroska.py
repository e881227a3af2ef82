"""The shape of pixels in a finished Matroska file, which PyAV can't hand to the muxer.

The muxer writes a display size by itself for stereoscopic pictures only. It is asked for such, and
the fields are corrected afterwards in place: the file needs no second writing.
"""

from fractions import Fraction
from pathlib import Path
from typing import Final
from zlib import crc32

from lkdn_core.errors import LKDNError
from lkdn_media.ebml import CRC, VOID, seek_to, spans

__all__ = ["STEREO", "write_pixel_shape"]

#: A tag of the video stream that makes the muxer write the fields.
STEREO: Final = {"stereo_mode": "left_right"}
_TRACKS: Final = b"\x16\x54\xae\x6b"
_ENTRY: Final = b"\xae"
_VIDEO: Final = b"\xe0"
_STEREO_MODE: Final = b"\x53\xb8"
_PIXEL_WIDTH: Final = b"\xb0"
_PIXEL_HEIGHT: Final = b"\xba"
_DISPLAY_WIDTH: Final = b"\x54\xb0"
_DISPLAY_HEIGHT: Final = b"\x54\xba"
#: Bytes of an element without contents.
_EMPTY: Final = 2
_Elements = dict[bytes, slice]


def write_pixel_shape(path: Path, ratio: Fraction) -> None:
    """Give the video of ``path``, written with `STEREO`, pixels of ``ratio`` (width by height).

    Raises ``LKDNError`` where there is no such video.
    """
    with path.open("r+b") as file:
        size = seek_to(file, _TRACKS)
        start, tracks = file.tell(), bytearray(file.read(size))
        inside = dict(spans(tracks, slice(0, len(tracks))))
        for name, entry in spans(tracks, slice(0, len(tracks))):
            video = dict(spans(tracks, entry)).get(_VIDEO) if name == _ENTRY else None
            fields = dict(spans(tracks, video)) if video else {}
            if _STEREO_MODE in fields and tracks[fields[_STEREO_MODE]] == b"\x01":
                break
        else:
            raise LKDNError(f"{path}: no display size to correct")
        _write_size(tracks, fields, ratio)
        if CRC in inside:
            body = tracks[inside[CRC].stop :]
            tracks[inside[CRC]] = crc32(body).to_bytes(4, "little")
        file.seek(start)
        file.write(tracks)


def _write_size(tracks: bytearray, fields: _Elements, ratio: Fraction) -> None:
    """Put a display size of the right proportion, near the pixels' own, where the fields lie."""
    width, height = (int.from_bytes(tracks[fields[n]]) for n in (_PIXEL_WIDTH, _PIXEL_HEIGHT))
    # Of three, each with a head of three bytes, two and an empty one remain. Between the first and
    # the others lies what says that there is alpha.
    start, stop = fields[_STEREO_MODE].start - 3, fields[_DISPLAY_HEIGHT].stop
    kept = tracks[fields[_STEREO_MODE].stop : fields[_DISPLAY_WIDTH].start - 3]
    count = (stop - start - len(kept) - _EMPTY - 6) // 2
    shape, most = ratio * width / height, 256**count - 1
    if max(shape.numerator, shape.denominator) > most:
        shape = shape.limit_denominator(int(most / max(1, shape)))
    times = max(
        1, min(most // max(shape.numerator, shape.denominator), height // shape.denominator)
    )
    new = kept
    for name, side in ((_DISPLAY_WIDTH, shape.numerator), (_DISPLAY_HEIGHT, shape.denominator)):
        new += name + bytes([0x80 | count]) + (side * times).to_bytes(count)
    rest = stop - start - len(new) - _EMPTY
    tracks[start:stop] = new + VOID + bytes([0x80 | rest]) + bytes(rest)
