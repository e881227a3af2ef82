"""Elements of EBML (RFC 8794), of which Matroska files are made, where FFmpeg shows too little."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from lkdn_core.errors import LKDNError

__all__ = [
    "CRC",
    "SEEK_HEAD",
    "SEGMENT",
    "VOID",
    "children",
    "element",
    "expect",
    "places",
    "seek_entry",
    "seek_to",
    "spans",
    "top_level",
    "void",
]

SEGMENT: Final = b"\x18\x53\x80\x67"
SEEK_HEAD: Final = b"\x11\x4d\x9b\x74"
VOID: Final = b"\xec"
CRC: Final = b"\xbf"
_SEEK: Final = b"\x4d\xbb"
_SEEK_NAME: Final = b"\x53\xab"
_SEEK_POSITION: Final = b"\x53\xac"
_CLUSTER: Final = b"\x1f\x43\xb6\x75"
#: Bytes; more has nothing that is not a picture or a sound.
_LARGEST: Final = 1 << 24


def _head(file: BinaryIO) -> tuple[bytes, int]:
    """Name and size of the element at the file's position, which goes on to its contents.

    Raises ``LKDNError`` where there is none.
    """
    name = _number(file)
    coded = _number(file)
    return name, int.from_bytes(coded) - (1 << 7 * len(coded))


def _number(file: BinaryIO) -> bytes:
    """Whose first byte tells how many there are."""
    first = file.read(1)
    more = 8 - first[0].bit_length() if first else 0
    rest = file.read(more)
    if not first or more > 7 or len(rest) < more:
        raise LKDNError("not a Matroska file, or one that ends too early")
    return first + rest


def seek_to(file: BinaryIO, wanted: bytes) -> int:
    """Go to the contents of the first element ``wanted`` in the segment; gives their size.

    Raises ``LKDNError`` where there is none.
    """
    while True:
        name, size = _head(file)
        if name == wanted:
            return size
        if name != SEGMENT:
            file.seek(size, 1)


def top_level(file: BinaryIO, wanted: frozenset[bytes]) -> dict[bytes, bytes]:
    """Contents of the elements ``wanted`` before the first cluster, or where the file's index says.

    Raises ``LKDNError`` for what is no such file, or a damaged one.
    """
    seek_to(file, SEGMENT)
    start, found = file.tell(), dict[bytes, bytes]()
    name, size = _head(file)
    while name != _CLUSTER:
        if name in wanted or name == SEEK_HEAD:
            found[name] = _contents(file, size)
        else:
            file.seek(size, 1)
        try:
            name, size = _head(file)
        except LKDNError:
            break  # no pictures
    for kind, place in places(found.pop(SEEK_HEAD, b"")):
        if kind in wanted - found.keys():
            file.seek(start + place)
            name, size = _head(file)
            if name == kind:
                found[name] = _contents(file, size)
    return found


def expect(file: BinaryIO, wanted: bytes) -> bytes:
    """Contents of the element at the file's position, which goes behind it.

    Raises ``LKDNError`` where that is none called ``wanted``.
    """
    name, size = _head(file)
    if name != wanted:
        raise LKDNError("a Matroska file that is not laid out as FFmpeg does it")
    return _contents(file, size)


def places(index: bytes) -> Iterator[tuple[bytes, int]]:
    """What the contents of a segment's ``index`` name, and where in the segment that begins.

    Raises ``LKDNError``.
    """
    for name, entry in children(index):
        if name == _SEEK:
            fields = dict(children(entry))
            yield fields.get(_SEEK_NAME, b""), int.from_bytes(fields.get(_SEEK_POSITION, b""))


def seek_entry(name: bytes, place: int) -> bytes:
    """What `places` reads."""
    position = element(_SEEK_POSITION, place.to_bytes(8))
    return element(_SEEK, element(_SEEK_NAME, name), position)


def element(name: bytes, *contents: bytes) -> bytes:
    """An element, with its size in as few bytes as will do."""
    data = b"".join(contents)
    length = next(n for n in range(1, 9) if len(data) < (1 << 7 * n) - 1)
    return name + (len(data) + (1 << 7 * length)).to_bytes(length) + data


def void(size: int) -> bytes:
    """An element of ``size`` bytes in all that says nothing. Raises ``LKDNError`` below 2."""
    if size < 2:
        raise LKDNError(f"no element has {size} bytes")
    length = 1 if size < 9 else 8
    contents = size - 1 - length
    return VOID + (contents + (1 << 7 * length)).to_bytes(length) + bytes(contents)


def _contents(file: BinaryIO, size: int) -> bytes:
    if size > _LARGEST:
        raise LKDNError(f"an element of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise LKDNError("a Matroska file that ends too early")
    return data


def children(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the elements that ``data`` consists of. Raises ``LKDNError``."""
    return ((name, data[place]) for name, place in spans(data, slice(0, len(data))))


def spans(data: bytes | bytearray, within: slice) -> Iterator[tuple[bytes, slice]]:
    """Names of the elements in ``within``, and where their contents are. Raises ``LKDNError``."""
    at = within.start
    while at < within.stop:
        name_end = at + 9 - data[at].bit_length()
        length = 9 - data[name_end].bit_length() if name_end < within.stop else 9
        start = name_end + length
        if length > 8 or start > within.stop:
            raise LKDNError("a damaged Matroska file")
        size = int.from_bytes(data[name_end:start]) - (1 << 7 * length)
        name, at = bytes(data[at:name_end]), start + size
        if at > within.stop:
            raise LKDNError("a damaged Matroska file")
        yield name, slice(start, at)
