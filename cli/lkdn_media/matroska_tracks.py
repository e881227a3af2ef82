"""What a Matroska file says of its tracks that PyAV can't hand to the muxer.

The muxer writes a display size by itself for stereoscopic pictures only. It is asked for such, and
the fields are corrected afterwards in place: the file needs no second writing, and a pipe only has
to wait for its tracks. Room for others is made by a longer title.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO, Final, Protocol
from zlib import crc32

from lkdn_core.errors import LKDNError
from lkdn_media.ebml import CRC, VOID, element, seek_to, spans, void

__all__ = [
    "STEREO",
    "TRACKS",
    "TRACK_ENTRY",
    "CorrectedHead",
    "Label",
    "Pipe",
    "longer_title",
    "write_labels",
    "write_pixel_shape",
]

#: Title of a track, and elements to be written beside it.
Label = tuple[str, bytes]

#: A tag of the video stream that makes the muxer write the fields.
STEREO: Final = {"stereo_mode": "left_right"}
TRACKS: Final = b"\x16\x54\xae\x6b"
TRACK_ENTRY: Final = b"\xae"
_NAME: Final = b"\x53\x6e"
_VIDEO: Final = b"\xe0"
_STEREO_MODE: Final = b"\x53\xb8"
_PIXEL_WIDTH: Final = b"\xb0"
_PIXEL_HEIGHT: Final = b"\xba"
_DISPLAY_WIDTH: Final = b"\x54\xb0"
_DISPLAY_HEIGHT: Final = b"\x54\xba"
#: Bytes of an element without contents.
_EMPTY: Final = 2
#: Bytes of the heads of a title and of an empty element, at most.
_HEAD: Final = 12
_Elements = dict[bytes, slice]


class Pipe(Protocol):
    """Takes what is written, in order."""

    def write(self, data: bytes) -> int:
        """Take ``data``."""


class CorrectedHead:
    """A pipe for a Matroska file that holds it back until ``correct`` could see to its tracks."""

    def __init__(self, pipe: Pipe, correct: Callable[[BinaryIO], None]) -> None:
        self._pipe, self._correct = pipe, correct
        self._head: BytesIO | None = BytesIO()

    def write(self, data: bytes) -> int:
        """Take ``data``, the next bytes of the file."""
        if self._head is None:
            return self._pipe.write(data)
        self._head.seek(0, 2)
        self._head.write(data)
        if _has_tracks(self._head):
            self._correct(self._head)
            self._pipe.write(self._head.getvalue())
            self._head = None
        return len(data)


def _has_tracks(file: BytesIO) -> bool:
    file.seek(0)
    try:
        size = seek_to(file, TRACKS)
    except LKDNError:
        return False
    return file.tell() + size <= file.getbuffer().nbytes


def write_pixel_shape(file: BinaryIO, ratio: Fraction) -> None:
    """Give the video of ``file``, written with `STEREO`, pixels of ``ratio`` (width by height).

    Raises ``LKDNError`` where there is no such video.
    """
    with _tracks(file) as tracks:
        for entry in _entries(tracks):
            video = dict(spans(tracks, entry)).get(_VIDEO)
            fields = dict(spans(tracks, video)) if video else {}
            if _STEREO_MODE in fields and tracks[fields[_STEREO_MODE]] == b"\x01":
                break
        else:
            raise LKDNError("a Matroska file without a display size to correct")
        _write_size(tracks, fields, ratio)


def longer_title(label: Label) -> str:
    """A title for the muxer that leaves room for all of ``label``."""
    title, fields = label
    return title + "." * (len(fields) + _HEAD) if fields else title


def write_labels(file: BinaryIO, labels: Sequence[Label]) -> None:
    """Give each track of ``file``, written with `longer_title`, what belongs to its label.

    Raises ``LKDNError`` where the titles are others.
    """
    with _tracks(file) as tracks:
        for entry, label in zip(_entries(tracks), labels, strict=True):
            if not label[1]:
                continue
            old = element(_NAME, longer_title(label).encode())
            start = tracks.find(old, entry.start, entry.stop)
            if start < 0:
                raise LKDNError("a Matroska file without the title of a track to correct")
            title, fields = label
            new = element(_NAME, title.encode()) * bool(title) + fields
            tracks[start : start + len(old)] = new + void(len(old) - len(new))


@contextmanager
def _tracks(file: BinaryIO) -> Iterator[bytearray]:
    """The contents of the file's element of tracks, written back when the block ends."""
    file.seek(0)
    size = seek_to(file, TRACKS)
    start, tracks = file.tell(), bytearray(file.read(size))
    yield tracks
    inside = dict(spans(tracks, slice(0, len(tracks))))
    if CRC in inside:
        body = tracks[inside[CRC].stop :]
        tracks[inside[CRC]] = crc32(body).to_bytes(4, "little")
    file.seek(start)
    file.write(tracks)


def _entries(tracks: bytearray) -> list[slice]:
    return [at for name, at in spans(tracks, slice(0, len(tracks))) if name == TRACK_ENTRY]


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
