"""Reading picture files: all their pixels at full depth, and their labels."""

import warnings
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from lkdn_core.errors import LKDNError
from lkdn_media.avif import AVIF, avif_bits
from lkdn_media.deep_pictures import deep_gray, deep_png, deep_tiff, is_deep_tiff, tiff_bits
from lkdn_media.jpeg import behind_picture, has_extended_xmp, picture_bytes
from lkdn_media.labels import Labels, read_labels
from lkdn_media.png import PNG_SIGNATURE

__all__ = ["MAX_PIXELS", "READABLE", "Still", "read_still"]

#: Endings of the picture files we look for in a folder.
READABLE: Final = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *((".avif",) if AVIF else ()),
)
#: What Pillow may open; others of its readers run programs (PostScript) or hold many pictures.
_FORMATS: Final = ("PNG", "JPEG", "WebP", *(("AVIF",) if AVIF else ()), "TIFF", "BMP", "GIF")
_ANIMATED: Final = ("PNG", "GIF", "WEBP", "AVIF")
#: Larger pictures are refused unless asked for: few bytes may unpack to any number of pixels.
MAX_PIXELS: Final = 256_000_000
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Pillow's names; the second has further pictures behind the first, as those of phones.
_JPEGS: Final = ("JPEG", "MPO")
#: In the XMP of phones' pictures with a gain map for HDR, or a short video, behind them.
_XMP_OF_MORE: Final = (b"hdrgm:", b"MotionPhoto", b"MicroVideo")
#: Tags of a TIFF: whether it is a thumbnail; where on a map it lies.
_KIND_OF_PICTURE: Final = 254
_PLACES_ON_MAPS: Final = (33550, 33922, 34264)

# Pillow warns of damaged EXIF, with a path into its own code, on stderr. A filter for good, since
# `warnings.catch_warnings` would change those of other threads; last, so that -W comes first.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
# Profiles of scanners and printers are larger than the 1 MB it allows; all of them may be this.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


@dataclass(frozen=True, slots=True)
class Still:
    """A picture. ``pixels``: (H, W, C), uint8 or uint16; C = 1 gray, 2 with alpha, 3 RGB, 4 RGBA.

    Alpha is not multiplied in. ``losses``: what of the file is not in here, a phrase each.
    ``codec``: what of lossy ones the samples were in, ``jpeg``, ``webp`` or ``avif``, else ``""``;
    ``lossy_bytes``: how many bytes, about.
    """

    pixels: NDArray[Any]
    labels: Labels = field(default_factory=Labels)
    losses: tuple[str, ...] = ()
    codec: str = ""
    lossy_bytes: int = 0

    @property
    def bits(self) -> int:
        """Bits of a sample, 8 or 16."""
        return self.pixels.itemsize * 8

    @property
    def width(self) -> int:
        """As it is stored, in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """As it is stored, in pixels."""
        return int(self.pixels.shape[0])

    @property
    def sideways(self) -> bool:
        """Whether width and height change places when the picture is shown."""
        return self.labels.orientation > 4

    @property
    def sample_aspect_ratio(self) -> None:
        """Pixels are shown as squares, whatever resolution the labels tell."""
        return None

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.shape[2] in (2, 4)


def read_still(path: Path, *, max_pixels: int = MAX_PIXELS) -> Still:
    """Read a picture file; the format is told by the content, not by the name.

    Palettes become RGB (or gray), 1-bit pictures 8-bit gray, CMYK and Lab sRGB of 8 bits; an AVIF
    has 8. Raises ``LKDNError`` for what can't be read, is animated, or is of more than
    ``max_pixels``.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # pipes may never end
            raise LKDNError("is not a file")
        data = path.read_bytes()
        Image.init()  # makes all of Pillow's formats known
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            losses = _check(image, max_pixels)
            labels = read_labels(image, data)
            if image.format in _JPEGS:
                losses, labels = _jpeg_losses(image, data, labels, losses)
            return _still(image, data, labels, losses)
    except LKDNError as error:
        raise type(error)(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise LKDNError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise LKDNError(f"{path}: is a folder") from error
    except PermissionError as error:
        raise LKDNError(f"{path}: may not be read") from error
    except UnidentifiedImageError as error:
        if data.startswith(_TIFF_SIGNATURES):
            raise LKDNError(f"{path}: is a kind of TIFF that is not read, or is damaged") from error
        names = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise LKDNError(f"{path}: is not a {names} picture, or is damaged") from error
    except Image.DecompressionBombError as error:
        raise LKDNError(f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in any way a parser can
        raise LKDNError(f"{path}: is damaged: {str(error) or type(error).__name__}") from error


def _check(image: Image.Image, max_pixels: int) -> list[str]:
    """Look at the head of the file only; returns what will be lost."""
    width, height = image.size
    if width * height > max_pixels:
        raise LKDNError(
            f"{width}x{height} are more than {max_pixels / 1e6:g} million pixels, which may be a "
            "decompression bomb; --max-megapixels raises the limit"
        )
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format in _ANIMATED:
        hint = "" if image.format == "AVIF" else "; lkdn-video enlarges those"
        raise LKDNError(f"is an animation of {count} pictures{hint}")
    losses = [f"only the first of {count} pictures is enlarged"] if count > 1 else []
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_KIND_OF_PICTURE, 0) & 1:
            raise LKDNError(
                "begins with a thumbnail, as raw files of cameras do; those aren't read"
            )
        if any(tag in tags for tag in _PLACES_ON_MAPS):
            losses.append("the place on a map is left out, it holds for the old size")
    return losses


def _jpeg_losses(
    image: Image.Image, data: bytes, labels: Labels, losses: list[str]
) -> tuple[list[str], Labels]:
    """Adds what lies behind a JPEG's picture, and takes away the XMP that counts on it."""
    losses = list(losses)
    behind = behind_picture(data)
    told = behind and any(name in labels.xmp for name in _XMP_OF_MORE)
    text = f"{max(1, behind // 1000)} kB behind the picture are left out"
    if told:
        losses.append(f"{text}, a gain map or a video, and the XMP that tells of it")
        labels = replace(labels, xmp=b"")
    elif image.format == "JPEG" and behind >= 1000:
        losses.append(text)
    if labels.xmp and has_extended_xmp(data):
        losses.append("the second part of the XMP is left out")
    return losses, labels


def _still(image: Image.Image, data: bytes, labels: Labels, losses: list[str]) -> Still:
    if data.startswith(PNG_SIGNATURE) and data[24] == 16:
        pixels = deep_png(data)
    elif is_deep_tiff(image):
        pixels = deep_tiff(image, data)
    elif image.mode.startswith("I;16"):
        pixels = deep_gray(image)
    elif image.mode in ("I", "F"):
        raise LKDNError(
            "has samples of 32 bits or with signs; whole numbers of 8 and 16 bits are read"
        )
    elif image.mode == "CMYK":
        losses.append("CMYK is turned into sRGB" + " of 8 bits" * (tiff_bits(image) > 8))
        pixels, labels = np.asarray(_from_cmyk(image, labels)), replace(labels, icc=b"")
    else:
        if image.format == "AVIF" and (bits := avif_bits(data)) > 8:
            losses.append(f"AVIF of {bits} bits is read with 8")
        _scale_transparent_gray(image, data)
        if image.mode == "LAB":
            losses.append("Lab is turned into sRGB")
            labels = replace(labels, icc=b"")
        pixels = np.asarray(image.convert(_plain_mode(image, bool(labels.icc))))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    kind = "gray" if pixels.shape[2] < 3 else "colour"
    if labels.icc and labels.profile_kind != kind:
        losses.append(f"the ICC profile is left out, it is for {labels.profile_kind} pictures")
        labels = replace(labels, icc=b"")
    return Still(pixels, labels, tuple(losses), *_compression(image, data))


def _compression(image: Image.Image, data: bytes) -> tuple[str, int]:
    """``Still.codec`` and ``lossy_bytes`` of a file."""
    if image.format == "WEBP" and (length := _webp_chunks(data).get(b"VP8 ")):
        return "webp", length
    if image.format in _JPEGS:
        return "jpeg", picture_bytes(data)
    if image.format == "AVIF":
        labels = sum(len(x) for x in image.info.values() if isinstance(x, bytes))
        return "avif", len(data) - labels
    return "", 0


def _webp_chunks(data: bytes) -> dict[bytes, int]:
    """Lengths of the parts of a WebP by their names."""
    lengths, place = dict[bytes, int](), 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        lengths[data[place : place + 4]] = length
        place += 8 + length + length % 2
    return lengths


def _scale_transparent_gray(image: Image.Image, data: bytes) -> None:
    """Scale the gray that a PNG calls transparent like its samples of 2 or 4 bits.

    Pillow brings only the samples to 8 bits. Of the gray only the lowest bits count.
    """
    see_through = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(see_through, int):
        white = 2 ** data[24] - 1
        image.info["transparency"] = (see_through & white) * (255 // white)


def _plain_mode(image: Image.Image, has_profile: bool) -> str:
    """Gray or RGB, with alpha or without."""
    gray = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("P", "PA") and not has_profile:  # a profile of a palette is one of RGB
        palette = np.array(image.getpalette("RGB") or []).reshape(-1, 3)
        gray = bool((palette == palette[:, :1]).all())
    return ("L" if gray else "RGB") + "A" * image.has_transparency_data


def _from_cmyk(image: Image.Image, labels: Labels) -> Image.Image:
    if not labels.icc:
        return image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(labels.icc))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return converted or image.convert("RGB")
