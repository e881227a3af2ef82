"""Reading picture files: all their pixels at full depth, and their labels."""

import struct
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from lkdn_core.errors import LKDNError
from lkdn_media.labels import PNG_SIGNATURE, Labels, read_labels

__all__ = ["MAX_PIXELS", "READABLE", "Still", "read_still"]

#: Endings of the picture files we look for in a folder.
READABLE: Final = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
#: What Pillow may open; others of its readers run programs (PostScript) or hold many pictures.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_ANIMATED: Final = ("PNG", "GIF", "WEBP")
#: Larger pictures are refused unless asked for: few bytes may unpack to any number of pixels.
MAX_PIXELS: Final = 256_000_000
_BITS_PER_SAMPLE, _PHOTOMETRIC, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 262, 338, 339
_DEEP: Final = {"gray16": "gray16le", "ya16": "ya16le", "rgb48": "rgb48le", "rgba64": "rgba64le"}


@dataclass(frozen=True, slots=True)
class Still:
    """A picture. ``pixels``: (H, W, C), uint8 or uint16; C = 1 gray, 2 with alpha, 3 RGB, 4 RGBA.

    Alpha is not multiplied in. ``losses``: what of the file is not in here, a phrase each.
    """

    pixels: NDArray[Any]
    labels: Labels = field(default_factory=Labels)
    losses: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of a sample, 8 or 16."""
        return self.pixels.itemsize * 8

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.shape[2] in (2, 4)


def read_still(path: Path, *, max_pixels: int = MAX_PIXELS) -> Still:
    """Read a picture file; the format is told by the content, not by the name.

    Palettes become RGB (or gray), 1-bit pictures 8-bit gray, CMYK sRGB. Raises ``LKDNError`` for
    what can't be read, is animated, or has more than ``max_pixels``.
    """
    try:
        data = path.read_bytes()
        Image.init()  # makes all of Pillow's formats known
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            losses = _check(image, max_pixels)
            labels = read_labels(image, data)
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
        names = "PNG, JPEG, WebP, TIFF, BMP or GIF"
        raise LKDNError(f"{path}: is not a {names} picture, or is damaged") from error
    except Image.DecompressionBombError as error:
        raise LKDNError(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, av.FFmpegError) as error:
        raise LKDNError(f"{path}: is damaged: {error}") from error


def _check(image: Image.Image, max_pixels: int) -> list[str]:
    """Look at the head of the file only; returns what will be lost."""
    width, height = image.size
    if width * height > max_pixels:
        raise LKDNError(
            f"{width}x{height} are more than {max_pixels / 1e6:g} million pixels, which may be a "
            "decompression bomb; --max-megapixels raises the limit"
        )
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return []
    if image.format in _ANIMATED:
        raise LKDNError(f"is an animation of {count} pictures; lkdn-video enlarges those")
    return [f"only the first of {count} pictures is enlarged"]


def _still(image: Image.Image, data: bytes, labels: Labels, losses: list[str]) -> Still:
    codec = _deep_codec(image, data)
    if codec:
        pixels = _decode_deep(data, codec)
    elif image.mode.startswith("I;16"):
        pixels = _deep_gray(image)
    elif image.mode in ("I", "F"):
        raise LKDNError("samples of 32 bits are not supported, only 8 and 16")
    elif image.mode == "CMYK":
        losses.append("CMYK is turned into sRGB")
        pixels, labels = np.asarray(_from_cmyk(image, labels)), replace(labels, icc=b"")
    else:
        pixels = np.asarray(image.convert(_plain_mode(image, bool(labels.icc))))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if labels.icc and labels.gray_profile != (pixels.shape[2] < 3):
        kind = "gray" if labels.gray_profile else "colour"
        losses.append(f"the ICC profile is left out, it is for {kind} pictures")
        labels = replace(labels, icc=b"")
    return Still(pixels, labels, tuple(losses))


def _deep_codec(image: Image.Image, data: bytes) -> str | None:
    """The FFmpeg decoder for pictures of which Pillow reads 8 of 16 bits only."""
    if data.startswith(PNG_SIGNATURE):
        return "png" if data[24] == 16 else None
    if image.format != "TIFF":
        return None
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    if max(bits) <= 8 or len(bits) == 1:
        return None
    if set(bits) != {16} or set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
        raise LKDNError(f"samples of {max(bits)} bits are not supported, only 8 and 16")
    if 1 in tags.get(_EXTRA_SAMPLES, ()):
        raise LKDNError("16-bit colour that is multiplied with alpha is not supported")
    return "tiff"


def _deep_gray(image: Image.Image) -> NDArray[Any]:
    """Gray of a TIFF with 12 or 16 bits, which Pillow gives as it is stored, as 16 with black 0."""
    # A copy has the size of the stored pixels; the image itself may tell that of the turned ones.
    stored = np.asarray(image.copy()).astype(np.uint32)
    tags = image.tag_v2  # type: ignore[attr-defined]
    white = 2 ** tags[_BITS_PER_SAMPLE][0] - 1
    pixels: NDArray[Any] = ((stored * 65535 + white // 2) // white).astype(np.uint16)
    return np.invert(pixels) if tags.get(_PHOTOMETRIC) == 0 else pixels


def _decode_deep(data: bytes, codec: str) -> NDArray[Any]:
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if not frames:
        raise LKDNError("is damaged")
    frame = frames[0]
    layout = _DEEP.get(frame.format.name.removesuffix("be").removesuffix("le"))
    if layout is None:
        raise LKDNError(f"16-bit samples laid out as {frame.format.name} are not supported")
    if frame.format.name != layout:
        frame = frame.reformat(format=layout)
    rows = np.frombuffer(frame.planes[0], np.uint16).reshape(frame.height, -1)
    channels = len(frame.format.components)
    return rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels).copy()


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
