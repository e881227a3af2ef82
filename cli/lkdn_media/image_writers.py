"""Writing picture files with their labels: PNG, JPEG, WebP, AVIF, TIFF and BMP."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.avif import AVIF
from lkdn_media.deep_png import pack_deep_png
from lkdn_media.exif import exact, nested_directory
from lkdn_media.images import Still
from lkdn_media.jpeg import iptc_segment
from lkdn_media.labels import IPTC_TAG, Labels
from lkdn_media.png import PNG_SIGNATURE, png_chunk, png_chunks

__all__ = ["WRITERS", "Quality", "Writer", "as_shown", "check_lossless"]

#: APP segments of a JPEG end at 64 KiB.
_SEGMENT: Final = 65_500
_TIFF_LIMIT: Final = 2**32 - 2**20
#: More pixels, and longer sides, are refused by readers of AVIF.
_AVIF_PIXELS, _AVIF_SIDE = 2**28, 2**15
#: Samples in one strip of a TIFF.
_STRIP: Final = 2**18
_INCH: Final = 2
_DEFLATE, _DIFFERENCES = 8, 2
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Quality:
    """Of lossy formats: 1 to 100; ``lossless`` is for WebP."""

    quality: int = 95
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class Writer:
    """A file format: how it is packed, and what it can hold.

    ``labels``: which fields of `Labels`, texts and EXIF of at most ``longest`` bytes each.
    ``lossy``: it has no way to keep all. ``coloured``: whether a gray picture becomes RGB.
    ``max_side`` is in pixels.
    """

    name: str
    pack: Callable[[Still, Quality], bytes]
    labels: frozenset[str]
    lossy: bool = False
    deep: bool = False
    alpha: bool = True
    longest: int = 2**31 - 1
    coloured: Callable[[Still], bool] = lambda _: False
    max_side: int = 2**31 - 1

    def encode(self, still: Still, quality: Quality) -> bytes:
        """The bytes of a file of ``still``, with those of its labels that it can hold."""
        without = {field: getattr(Labels(), field) for field in self._lost_labels(still)}
        return self.pack(replace(still, labels=replace(still.labels, **without)), quality)

    def losses(self, still: Still) -> list[str]:
        """What of ``still``, the source, won't be in the new file; a phrase each."""
        see_through = still.has_alpha and int(still.pixels[..., -1].min()) < 2**still.bits - 1
        labels = self._lost_labels(still).values()
        lost = {
            f"{self.name} has 8 bits, not 16": still.bits > 8 and not self.deep,
            f"{self.name} has no transparency, white is laid under it": (
                see_through and not self.alpha
            ),
            f"{self.name} can't hold {', '.join(labels)}": labels,
        }
        return [text for text, true in lost.items() if true]

    def _lost_labels(self, still: Still) -> dict[str, str]:
        coloured = self.coloured(still)
        return still.labels.lost(self.labels, longest=self.longest, coloured=coloured)


def as_shown(still: Still) -> Image.Image:
    """8 bits, upright, over white where it is transparent."""
    pixels = still.pixels
    if still.bits == 16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    image = _pillow(_opaque(pixels))
    turn = _TURNS.get(still.labels.orientation)
    return image if turn is None else image.transpose(turn)


def check_lossless(targets: Iterable[Path]) -> None:
    """Raise ``ArgumentError`` where one of these files can't keep everything."""
    for path in targets:
        writer = WRITERS[path.suffix.lower()]
        if writer.lossy:
            raise ArgumentError(
                f"lossless: WebP, PNG, TIFF and BMP are accepted, got {path} ({writer.name})"
            )


def _png(still: Still, quality: Quality) -> bytes:
    if still.bits == 16:
        body = pack_deep_png(still.pixels)
    else:
        buffer = BytesIO()
        _pillow(still.pixels).save(buffer, "PNG")
        body = buffer.getvalue()
    chunks = list(png_chunks(body))
    header, data = chunks[0][1], [chunk for name, chunk in chunks if name in (b"IDAT", b"IEND")]
    return b"".join((PNG_SIGNATURE, header, _png_labels(still), *data))


def _png_labels(still: Still) -> bytes:
    """The chunks between head and pixels: Pillow's, and those the source had as a PNG."""
    labels, buffer = still.labels, BytesIO()
    own = {name for name, _ in png_chunks(PNG_SIGNATURE + labels.chunks)}
    dpi = None if b"pHYs" in own else labels.dpi
    Image.new("L", (1, 1)).save(
        buffer, "PNG", icc_profile=labels.icc or None, exif=_exif(still), dpi=dpi
    )
    made = [
        chunk
        for name, chunk in png_chunks(buffer.getvalue())
        if name in (b"iCCP", b"eXIf", b"pHYs")
    ]
    if labels.xmp and b"XML:com.adobe.xmp" not in labels.chunks:
        made.append(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + labels.xmp))
    if labels.comment and not labels.chunks:
        made.append(png_chunk(b"iTXt", b"Comment\0\0\0\0\0" + _utf8(labels.comment)))
    return b"".join((*made, labels.chunks))


def _utf8(comment: bytes) -> bytes:
    """A JPEG's comment, which is in no encoding that is known, as PNG's text has to be."""
    text = comment.replace(b"\0", b"")
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _jpeg(still: Still, quality: Quality) -> bytes:
    image, labels, buffer = _pillow(_opaque(still.pixels)), still.labels, BytesIO()
    options: dict[str, Any] = {"dpi": labels.dpi} if labels.dpi else {}
    # What is optimised comes in one piece, for which Pillow has room for photographs only: not for
    # noise. More than three samples of two bytes it can't be.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * still.width * still.height)
    image.save(
        buffer,
        "JPEG",
        quality=quality.quality,
        subsampling=0,  # 4:4:4: the network's chroma is worth keeping
        optimize=True,
        icc_profile=labels.icc or None,
        exif=_exif(still),
        xmp=labels.xmp,
        comment=labels.comment,
        extra=iptc_segment(labels.iptc) if labels.iptc else b"",
        **options,
    )
    return buffer.getvalue()


def _webp(still: Still, quality: Quality) -> bytes:
    labels, buffer = still.labels, BytesIO()
    _pillow(_coloured(still.pixels)).save(  # WebP has no gray
        buffer,
        "WEBP",
        quality=quality.quality,
        lossless=quality.lossless,
        icc_profile=labels.icc or None,
        exif=_exif(still),
        xmp=labels.xmp,
    )
    return buffer.getvalue()


def _avif(still: Still, quality: Quality) -> bytes:
    pixels, labels, buffer = still.pixels, still.labels, BytesIO()
    if pixels.shape[0] * pixels.shape[1] > _AVIF_PIXELS:
        raise LKDNError("AVIF of more than 268 million pixels is not read; .png is")
    _pillow(pixels).save(
        buffer,
        "AVIF",
        quality=quality.quality,
        subsampling="4:0:0" if pixels.shape[2] == 1 else "4:4:4",
        icc_profile=labels.icc,
        exif=_exif(still),
        xmp=labels.xmp,
    )
    return buffer.getvalue()


def _bmp(still: Still, quality: Quality) -> bytes:
    """BMP can't tell which way is up, so the pixels are turned."""
    buffer = BytesIO()
    across, down = still.labels.dpi or (96, 96)
    dpi = (down, across) if still.sideways else (across, down)
    as_shown(still).save(buffer, "BMP", dpi=dpi)
    return buffer.getvalue()


def _tiff(still: Still, quality: Quality) -> bytes:
    """Pillow writes the directory, for 16-bit colour too; samples are deflated differences."""
    pixels, labels = still.pixels, still.labels
    if _deep_gray_alpha(still):
        pixels = _coloured(pixels)
    height, width, channels = pixels.shape
    step = max(1, _STRIP // (width * channels))
    strips = [_strip(pixels[top : top + step]) for top in range(0, height, step)]
    offsets = np.cumsum([0, *map(len, strips)]).tolist()
    if offsets[-1] > _TIFF_LIMIT:
        raise LKDNError("TIFF holds at most 4 GiB; .png holds more")
    directory = ImageFileDirectory_v2()
    described = Image.Exif()
    described.load(_exif(still))
    for tag in described:
        nested = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
        directory[tag] = nested_directory(described, tag) if nested else exact(described[tag])
    tags = ExifTags.Base
    directory[tags.ImageWidth], directory[tags.ImageLength] = width, height
    directory[tags.BitsPerSample] = (still.bits,) * channels
    directory[tags.Compression] = _DEFLATE
    directory[tags.PhotometricInterpretation] = 2 if channels > 2 else 1
    directory[tags.StripOffsets], directory[tags.SamplesPerPixel] = tuple(offsets[:-1]), channels
    directory[tags.RowsPerStrip] = step
    directory[tags.StripByteCounts] = tuple(map(len, strips))
    directory[tags.PlanarConfiguration], directory[tags.Predictor] = 1, _DIFFERENCES
    if still.has_alpha:
        directory[338] = (2,)  # ExtraSamples: alpha that is not multiplied in
    if labels.dpi:
        directory[tags.XResolution], directory[tags.YResolution] = labels.dpi
        directory[tags.ResolutionUnit] = _INCH
    others = ((tags.XMLPacket, labels.xmp, 1), (IPTC_TAG, labels.iptc, 7), (34675, labels.icc, 7))
    for tag, value, kind in others:
        if value:
            directory[tag], directory.tagtype[tag] = value, kind
    buffer = BytesIO()
    directory.save(buffer)
    return b"".join((buffer.getvalue(), *strips))


def _strip(rows: NDArray[Any]) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]  # modulo 2^bits, as the predictor wants it
    return zlib.compress(differences.astype(rows.dtype.newbyteorder("<"), copy=False).tobytes())


def _exif(still: Still) -> bytes:
    height, width, _ = still.pixels.shape
    return still.labels.exif_bytes(width, height)


def _deep_gray_alpha(still: Still) -> bool:
    """Few programs read it from a TIFF as gray, Pillow doesn't."""
    return still.bits == 16 and still.pixels.shape[2] == 2


def _coloured(pixels: NDArray[Any]) -> NDArray[Any]:
    """``pixels`` (H, W, C) as RGB, alpha kept."""
    if pixels.shape[2] > 2:
        return pixels
    return np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], 2)


def _opaque(pixels: NDArray[Any]) -> NDArray[Any]:
    """``pixels`` (H, W, C) 8-bit laid over white, without alpha."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    colour, alpha = pixels[..., :-1].astype(np.uint16), pixels[..., -1:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _pillow(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


_COMMON: Final = frozenset(("icc", "exif", "xmp"))
_PNG = Writer("PNG", _png, _COMMON | {"comment", "dpi", "chunks"}, deep=True)
_JPEG = Writer(
    "JPEG",
    _jpeg,
    _COMMON | {"comment", "iptc", "dpi"},
    lossy=True,
    alpha=False,
    longest=_SEGMENT,
    max_side=65500,
)
_TIFF = Writer("TIFF", _tiff, _COMMON | {"iptc", "dpi"}, deep=True, coloured=_deep_gray_alpha)
_AVIF = Writer(
    "AVIF",
    _avif,
    _COMMON,
    lossy=True,
    coloured=lambda still: still.pixels.shape[2] == 2,
    max_side=_AVIF_SIDE,
)
#: By the ending of a file's name.
WRITERS: Final = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": Writer("WebP", _webp, _COMMON, coloured=lambda _: True, max_side=16383),
    **({".avif": _AVIF} if AVIF else {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": Writer("BMP", _bmp, frozenset({"dpi"}), alpha=False),
}
