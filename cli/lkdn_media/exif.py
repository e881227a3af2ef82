"""EXIF: read whatever its state is, written again with the bytes and types its fields had."""

import struct
from typing import Any, Final

from PIL import ExifTags, Image, TiffTags

__all__ = ["exact", "nested_directory", "pack_exif", "read_exif"]

#: Fields of the type UNDEFINED that Pillow doesn't know, and would write as BYTE: programs don't
#: find text in such a ``UserComment``. By the directory they are in (EXIF 3.0, tables 4 to 15).
_UNDEFINED: Final = {
    ExifTags.IFD.Exif: (34856, 37121, 37500, 37510, 41484, 41728, 41729, 41995, 42082),
    ExifTags.IFD.GPSInfo: (27, 28),
}
for _group, _tags in _UNDEFINED.items():
    for _tag in _tags:
        _known = TiffTags.TAGS_V2_GROUPS.setdefault(_group, {})
        _known.setdefault(_tag, TiffTags.TagInfo(_tag, str(_tag), TiffTags.UNDEFINED, 1))


class _Bytes(str):
    """Text as Pillow reads it, each byte a character; it would write ``?`` for those above 127."""

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return super().encode("latin-1", "replace")


def exact(value: Any) -> Any:
    """``value`` of a field, so that Pillow writes what it has read."""
    if isinstance(value, dict):
        return {tag: exact(one) for tag, one in value.items()}
    return _Bytes(value) if isinstance(value, str) else value


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF of ``image``, those of a TIFF's tags too; empty where it is damaged.

    Without what Pillow would take from XMP: few programs go by an orientation that is only there.
    """
    if image.format == "PNG":
        image.load()  # as `getexif` does: damaged samples aren't damaged EXIF
    xmp = {name: image.info.pop(name, None) for name in ("xmp", "XML:com.adobe.xmp")}
    try:
        exif = image.getexif()
        return exif if all(exif[tag] is not None for tag in exif) else Image.Exif()
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return Image.Exif()
    finally:
        image.info.update({name: text for name, text in xmp.items() if text is not None})


def pack_exif(exif: Image.Exif, orientation: int, width: int, height: int) -> bytes:
    """EXIF for a file of ``width`` x ``height`` pixels; ``b""`` where there is nothing to say."""
    if not exif and orientation == 1:
        return b""
    packed = Image.Exif()
    packed.endian = exif.endian or "<"
    for tag, value in exif.items():
        packed[tag] = value
    if orientation != 1:
        packed[ExifTags.Base.Orientation] = orientation
    camera = packed.get(ExifTags.IFD.Exif)
    if isinstance(camera, dict):
        sizes = {ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
        packed[ExifTags.IFD.Exif] = camera | {t: n for t, n in sizes.items() if t in camera}
    return packed.tobytes()


def nested_directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """The fields of the directory that ``tag`` of ``exif`` points to, those nested in it too.

    A pointer that stayed a number would point anywhere in a new file; one to nothing is left out.
    """
    directory = dict(exif.get_ifd(tag))
    if directory.pop(ExifTags.IFD.Interop, None) is not None:
        nested = dict(exif.get_ifd(ExifTags.IFD.Interop))
        directory |= {ExifTags.IFD.Interop: nested} if nested else {}
    # Pillow reads a maker's note as a directory only when asked; as bytes it is kept whole.
    found: dict[int, Any] = exact(directory)
    return found
