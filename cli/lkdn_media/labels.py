"""What a picture file says about its pixels: profile, EXIF, resolution, texts."""

import re
import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from PIL import ExifTags, Image

from lkdn_media.avif import avif_cicp
from lkdn_media.exif import exact, nested_directory, pack_exif, read_exif
from lkdn_media.jpeg import IPTC_RESOURCE
from lkdn_media.png import PNG_SIGNATURE, png_chunk, png_chunks

__all__ = ["IPTC_TAG", "Labels", "read_labels"]

#: Chunks of a PNG that hold for the enlarged picture too, whatever its pixels are.
_PNG_KEPT: Final = {b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs"}
_PNG_TEXTS: Final = {b"tEXt", b"zTXt", b"iTXt"}
#: What chunks hold for sRGB, in 1/100000: gamma; x and y of white, red, green and blue.
_SRGB: Final = {
    b"gAMA": (45455,),
    b"cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}
#: How far from it programs take it for sRGB still, as libpng does.
_ROUNDED: Final = {b"gAMA": 2273, b"cHRM": 1000}
_XMP_KEY: Final = b"XML:com.adobe.xmp\0"
#: Tags that say how a TIFF lays out its samples, or are kept as fields of their own.
_LAYOUT_TAGS: Final = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284),
    *(290, 291, 292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334),
    *(333, 336, 338, 339, 340, 341, 342, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723),
    *(34377, 34675, 37724),
    *(33550, 33922, 34264, 34735, 34736, 34737),  # where on a map each pixel is
}
_DESCRIPTION: Final = ExifTags.Base.ImageDescription
IPTC_TAG: Final = 33723


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
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None
    chunks: bytes = b""

    def exif_bytes(self, width: int, height: int) -> bytes:
        """EXIF for the new file, with the new size in it; ``b""`` where there is none."""
        return pack_exif(self.exif, self.orientation, width, height)

    @property
    def profile_kind(self) -> str:
        """What pictures the ICC profile is for: gray, colour, or the name of another space."""
        space = self.icc[16:20].decode("ascii", "replace").strip()
        return {"GRAY": "gray", "RGB": "colour"}.get(space, space or "unknown")

    def lost(self, held: Collection[str], *, longest: int, coloured: bool) -> dict[str, str]:
        """The fields that don't fit into a new file, in words.

        It has place for those in ``held``, texts and EXIF of at most ``longest`` bytes each.
        ``coloured``: gray pixels become RGB in it.
        """
        words = self._words()
        lost = {field: text for field, text in words.items() if field not in held}
        if coloured and self.profile_kind == "gray":
            lost.setdefault("icc", "a gray ICC profile")
        lengths = {name: len(getattr(self, name)) for name in ("xmp", "comment", "iptc")}
        try:
            lengths["exif"] = len(self.exif_bytes(1, 1))
        except (struct.error, TypeError, ValueError, OverflowError, AttributeError):
            lost.setdefault("exif", "damaged EXIF")  # fields that don't fit their own type
        for name, length in lengths.items():
            if length > longest:
                lost.setdefault(name, f"{words[name]} of {length // 1000} kB")
        return lost

    def _words(self) -> dict[str, str]:
        """What is there, in words, by field."""
        chunks = [(kind, chunk[8:-4]) for kind, chunk in png_chunks(PNG_SIGNATURE + self.chunks)]
        kinds = {kind for kind, content in chunks if not content.startswith(_XMP_KEY)}
        of_png = ["the cICP colour space"] if b"cICP" in kinds else []
        if not (self.icc or kinds & {b"cICP", b"sRGB"}):  # which decide before these two
            words = {b"gAMA": "the gamma", b"cHRM": "the primaries"}
            of_png += [words[kind] for kind, content in chunks if _unlike_srgb(kind, content)]
        of_png += ["the PNG texts"] if kinds & _PNG_TEXTS else []
        there = {
            "icc": ("the ICC profile", self.icc),
            "exif": ("EXIF", self.exif),
            "xmp": ("XMP", self.xmp),
            "comment": ("the comment", self.comment),
            "iptc": ("IPTC", self.iptc),
            # EXIF, where there is one, may say it too.
            "dpi": ("the resolution", self.dpi and ExifTags.Base.XResolution not in self.exif),
            "chunks": (", ".join(of_png), of_png),
        }
        return {name: words for name, (words, value) in there.items() if value}


def read_labels(image: Image.Image, data: bytes) -> Labels:
    """The labels of ``image``, opened from ``data`` but not loaded yet.

    Takes EXIF's orientation away from ``image``, so that Pillow does not turn the pixels of a TIFF.
    """
    info = image.info
    found = read_exif(image)
    orientation = found.pop(ExifTags.Base.Orientation, 1)
    exif = Image.Exif()
    exif.endian = found.endian
    for tag, value in found.items():
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            exif[tag] = nested_directory(found, tag)
        elif tag not in _LAYOUT_TAGS and not (tag == _DESCRIPTION and _is_of_layout(value)):
            exif[tag] = exact(value)
    xmp, comment = info.get("xmp", b""), info.get("comment", b"")
    return Labels(
        orientation=orientation if orientation in range(1, 9) else 1,
        exif=exif,
        icc=info.get("icc_profile") or b"",
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        comment=comment.encode() if isinstance(comment, str) else comment,
        iptc=_iptc(image, found),
        dpi=_dpi(info.get("dpi")) if _tells_dpi(image, found) else None,
        chunks=_chunks(image, data),
    )


def _is_of_layout(description: object) -> bool:
    """Whether it is what programs of microscopy write there: the size and order of samples."""
    return isinstance(description, str) and (
        description.startswith(('{"shape":', "ImageJ=")) or "<OME " in description[:2000]
    )


def _iptc(image: Image.Image, exif: Image.Exif) -> bytes:
    """Captions and keywords of a JPEG or TIFF."""
    if image.format == "TIFF":
        found = exif.get(IPTC_TAG)
    else:
        resources = image.info.get("photoshop")
        found = resources.get(IPTC_RESOURCE) if isinstance(resources, dict) else None
    return found if isinstance(found, bytes) else b""


def _tells_dpi(image: Image.Image, exif: Image.Exif) -> bool:
    """Whether the dots per inch are the file's: Pillow says 1 of TIFFs and 72 of JPEGs without."""
    if image.format == "TIFF":
        return {ExifTags.Base.XResolution, ExifTags.Base.YResolution} <= exif.keys()
    if image.format in ("JPEG", "MPO"):
        return image.info.get("jfif_unit") in (1, 2) or ExifTags.Base.XResolution in exif
    return True


def _dpi(found: object) -> tuple[float, float] | None:
    """Dots per inch if they can be true: a TIFF may say 0/0, and JPEG holds 16 bits of them."""
    if not isinstance(found, tuple):  # a text of a PNG may be named so
        return None
    across, down = map(float, found)
    return (across, down) if 0 < across < 2**16 and 0 < down < 2**16 else None


def _chunks(image: Image.Image, data: bytes) -> bytes:
    """What a PNG has, or gets for an AVIF, whose profile counts before its numbers."""
    if data.startswith(PNG_SIGNATURE):
        return _png_labels(data)
    if image.format == "AVIF" and "icc_profile" not in image.info and (cicp := avif_cicp(data)):
        return png_chunk(b"cICP", cicp)
    return b""


def _png_labels(data: bytes) -> bytes:
    kept = []
    for name, chunk in png_chunks(data):
        is_text = name in _PNG_TEXTS and not _tells_orientation(chunk)
        whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if whole and (name in _PNG_KEPT or is_text):
            kept.append(chunk)
    return b"".join(kept)


def _unlike_srgb(name: bytes, content: bytes) -> bool:
    """Whether a PNG's chunk gives another gamma or other primaries than sRGB's."""
    usual = _SRGB.get(name)
    if usual is None or len(content) != 4 * len(usual):
        return False
    found = struct.unpack(f">{len(usual)}I", content)
    return any(abs(a - b) > _ROUNDED[name] for a, b in zip(found, usual, strict=True))


def _tells_orientation(chunk: bytes) -> bool:
    """Whether a text is EXIF as old programs hid it there; it is written as ``eXIf`` instead."""
    return re.match(rb"Raw profile type (exif|APP1)\0", chunk[8:], re.IGNORECASE) is not None
