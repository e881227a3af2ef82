"""What a picture file says about its pixels: profile, EXIF, resolution, texts."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import ExifTags, Image

__all__ = ["PNG_SIGNATURE", "Labels", "png_chunks", "read_labels"]

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: Chunks of a PNG that hold for the enlarged picture too, whatever its pixels are.
_PNG_KEPT: Final = {b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs"}
_PNG_TEXTS: Final = {b"tEXt", b"zTXt", b"iTXt"}
_XMP_KEY: Final = b"XML:com.adobe.xmp\0"
#: Tags that say how a TIFF lays out its samples, or are kept as fields of their own.
_LAYOUT_TAGS: Final = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284),
    *(290, 291, 292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334),
    *(338, 339, 340, 341, 342, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675, 34377, 37724),
}


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a picture. ``orientation`` (1 to 8) is EXIF's; the pixels are as they are stored.

    ``exif`` holds neither orientation nor layout. ``dpi``: horizontal, vertical. ``chunks``: parts
    of a PNG that only another PNG can take.
    """

    orientation: int = 1
    exif: Image.Exif = field(default_factory=Image.Exif)
    icc: bytes = b""
    xmp: bytes = b""
    comment: bytes = b""
    dpi: tuple[float, float] | None = None
    chunks: bytes = b""

    def exif_bytes(self, width: int, height: int) -> bytes:
        """EXIF for the new file, with the new size in it; ``b""`` where there is none."""
        exif = Image.Exif()
        if not self.exif and self.orientation == 1:
            return b""
        exif.endian = self.exif.endian or "<"
        for tag, value in self.exif.items():
            exif[tag] = value
        if self.orientation != 1:
            exif[ExifTags.Base.Orientation] = self.orientation
        camera = exif.get(ExifTags.IFD.Exif)
        if isinstance(camera, dict):
            sizes = {ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
            exif[ExifTags.IFD.Exif] = camera | {t: n for t, n in sizes.items() if t in camera}
        return exif.tobytes()

    def names(self) -> list[str]:
        """What is there, in words."""
        there = {
            "the ICC profile": self.icc,
            "EXIF": self.exif,
            "XMP": self.xmp,
            "the comment": self.comment,
        }
        return [name for name, value in there.items() if value]


def read_labels(image: Image.Image, data: bytes) -> Labels:
    """The labels of ``image``, opened from ``data`` but not loaded yet.

    Takes EXIF's orientation away from ``image``, so that Pillow does not turn the pixels of a TIFF.
    """
    info = image.info
    found = image.getexif()
    orientation = found.pop(ExifTags.Base.Orientation, 1)
    exif = Image.Exif()
    exif.endian = found.endian
    for tag, value in found.items():
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            exif[tag] = _directory(found, tag)
        elif tag not in _LAYOUT_TAGS:
            exif[tag] = value
    xmp, comment = info.get("xmp", b""), info.get("comment", b"")
    dpi = info.get("dpi")
    return Labels(
        orientation=orientation if orientation in range(1, 9) else 1,
        exif=exif,
        icc=info.get("icc_profile") or b"",
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        comment=comment.encode() if isinstance(comment, str) else comment,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        chunks=_png_labels(data) if data.startswith(PNG_SIGNATURE) else b"",
    )


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


def _png_labels(data: bytes) -> bytes:
    kept = []
    for name, chunk in png_chunks(data):
        is_text = name in _PNG_TEXTS and not _tells_orientation(chunk)
        whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if whole and (name in _PNG_KEPT or is_text):
            kept.append(chunk)
    return b"".join(kept)


def _tells_orientation(chunk: bytes) -> bool:
    """Whether a text is EXIF as old programs hid it there; it is written as ``eXIf`` instead."""
    return re.match(rb"Raw profile type (exif|APP1)\0", chunk[8:], re.IGNORECASE) is not None


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    directory = dict(exif.get_ifd(tag))
    if ExifTags.IFD.Interop in directory:
        directory[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
    # Pillow reads a maker's note as a directory only when asked; as bytes it is kept whole.
    return directory
