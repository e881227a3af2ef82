"""Picture files as frames of a video: which of them FFmpeg would read as something else."""

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import LKDNError
from lkdn_media.png import PNG_SIGNATURE, png_chunks

__all__ = ["check_pictures"]

#: What Pillow raises where a file is damaged, at tags of odd kinds too; the reader tells it then.
_DAMAGE: Final = (OSError, ValueError, TypeError, SyntaxError, LookupError, struct.error)
# Values of tags of TIFF 6.0.
_JPEG: Final = (6, 7)
_CMYK, _PLANES, _MULTIPLIED = 5, 2, 1
_BIG: Final = 43
#: Bytes of a PNG up to depth and kind of colour, which is 0 for gray; and of what is behind them.
_PNG_HEAD: Final = 26
_LOOKED_AT: Final = 2**16


def check_pictures(files: Collection[Path]) -> None:
    """Raise ``LKDNError`` for what FFmpeg takes for the end of all pictures, or for other colours.

    ``files``: those of one video.
    """
    for file in sorted(files):
        if not file.is_file():
            raise LKDNError(f"{file}: is not a file, but has the name of a picture")
        if not file.stat().st_size:
            raise LKDNError(f"{file}: is empty")
        try:
            kind = _misread(file)
        except _DAMAGE:
            kind = None
        if kind:
            raise LKDNError(f"{file}: {kind} makes no video; as PNG of 8 or 16 bits it does")
    turned = {_orientation(file): file for file in reversed(sorted(files))}
    if len(turned) > 1:  # a video is turned as a whole
        (a, first), (b, other), *_ = turned.items()
        raise LKDNError(
            f"{first}: is to be shown turned in another way (EXIF orientation {a}) than {other} "
            f"({b}); lkdn-image enlarges each of them"
        )


def _misread(file: Path) -> str | None:
    """What ``file`` is, where FFmpeg would make something else of it."""
    ending = file.suffix.lower()
    if ending in (".tif", ".tiff"):
        return _misread_tiff(_tags(file))
    if ending == ".png":
        return _misread_png(file)
    return None


def _misread_png(file: Path) -> str | None:
    with file.open("rb") as data:
        head = data.read(_PNG_HEAD)
        if not head.startswith(PNG_SIGNATURE) or len(head) < _PNG_HEAD:
            return None
        depth, colours = head[-2:]
        if colours or depth >= 8:
            return None
        chunks = png_chunks(head + data.read(_LOOKED_AT))
    clear = any(name == b"tRNS" for name, _ in chunks)
    return f"gray of {depth} bits with transparency" if clear else None


def _orientation(file: Path) -> int:
    """As the EXIF of a JPEG tells it, in which alone FFmpeg looks; 1 is upright."""
    if file.suffix.lower() not in (".jpg", ".jpeg", ".jpe", ".jfif"):
        return 1
    try:
        with Image.open(file, formats=("JPEG", "MPO")) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return 1


def _misread_tiff(tags: ImageFileDirectory_v2) -> str | None:
    names = ExifTags.Base
    if tags.get(names.Compression) in _JPEG:
        return "JPEG within TIFF"
    if names.TileWidth in tags:
        return "a TIFF in tiles"
    if _MULTIPLIED in tags.get(names.ExtraSamples, ()):
        return "a TIFF whose colours are multiplied by their alpha"
    deep = any(bits > 8 for bits in tags.get(names.BitsPerSample, ()))
    planes = tags.get(names.PlanarConfiguration) == _PLANES
    if tags.get(names.PhotometricInterpretation) == _CMYK and (deep or planes):
        return "CMYK of 16 bits, or in planes,"
    return None


def _tags(tiff: Path) -> ImageFileDirectory_v2:
    """Those of the first picture."""
    with tiff.open("rb") as file:
        head = file.read(8)
        head += file.read(8) if head[2] == _BIG or head[3] == _BIG else b""
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        return tags
