"""Reading picture files: all their pixels at full depth, and their labels."""

import warnings
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import LKDNError
from lkdn_media.avif import AVIF, avif_bits
from lkdn_media.formats import repacked
from lkdn_media.labels import PNG_SIGNATURE, Labels, read_labels
from lkdn_media.side_data import progressive

__all__ = ["MAX_PIXELS", "READABLE", "Still", "read_still"]

#: Endings of the picture files we look for in a folder.
READABLE: Final = (
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *((".avif",) if AVIF else ()),
)
#: What Pillow may open; others of its readers run programs (PostScript) or hold many pictures.
_FORMATS: Final = ("PNG", "JPEG", "WebP", *(("AVIF",) if AVIF else ()), "TIFF", "BMP", "GIF")
_ANIMATED: Final = ("PNG", "GIF", "WEBP", "AVIF")
#: Larger pictures are refused unless asked for: few bytes may unpack to any number of pixels.
MAX_PIXELS: Final = 256_000_000
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _STRIPS, _ROWS_PER_STRIP = 257, 258, 262, 273, 278
_PLANES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 338, 339
_RGB, _CMYK = 2, 5
_MPO_ENTRIES = 0xB002
_UNSPECIFIED, _MULTIPLIED = 0, 1
#: All that FFmpeg has to know of a TIFF: its size, samples, packing and strips.
_STRIP_TAGS: Final = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317)
_DEEP: Final = {
    "gray16": "gray16le",
    "ya16": "ya16le",
    "rgb48": "rgb48le",
    "rgba64": "rgba64le",
    "gbrp16": "rgb48le",
    "gbrap16": "rgba64le",
}

# Pillow warns of damaged EXIF, with a path into its own code, on stderr. A filter for good, since
# `warnings.catch_warnings` would change those of other threads; last, so that -W comes first.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)


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
    if count == 1:
        return []
    if image.format in _ANIMATED:
        hint = "" if image.format == "AVIF" else "; lkdn-video enlarges those"
        raise LKDNError(f"is an animation of {count} pictures{hint}")
    return [f"only the first of {count} pictures is enlarged"]


def _still(image: Image.Image, data: bytes, labels: Labels, losses: list[str]) -> Still:
    if data.startswith(PNG_SIGNATURE) and data[24] == 16:
        pixels = _decode_deep(data, "png")
    elif _is_deep_tiff(image):
        pixels = _deep_tiff(image, data)
    elif image.mode.startswith("I;16"):
        pixels = _deep_gray(image)
    elif image.mode in ("I", "F"):
        raise LKDNError(
            "has samples of 32 bits or with signs; whole numbers of 8 and 16 bits are read"
        )
    elif image.mode == "CMYK":
        losses.append("CMYK is turned into sRGB" + " of 8 bits" * (_tiff_bits(image) > 8))
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
    codec = {"JPEG": "jpeg", "MPO": "jpeg", "AVIF": "avif"}.get(image.format or "", "")
    if not codec:
        return "", 0
    length = len(data)
    if image.format == "MPO":  # a phone's, with another picture behind the first
        length = image.mpinfo[_MPO_ENTRIES][0]["Size"]  # type: ignore[attr-defined]
    labels = getattr(image, "applist", image.info.items())  # JPEG's own has several of a name
    return codec, length - sum(len(x) for _, x in labels if isinstance(x, bytes))


def _webp_chunks(data: bytes) -> dict[bytes, int]:
    """Lengths of the parts of a WebP by their names."""
    lengths, place = dict[bytes, int](), 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        lengths[data[place : place + 4]] = length
        place += 8 + length + length % 2
    return lengths


def _tiff_bits(image: Image.Image) -> int:
    """Bits of the deepest sample of a TIFF, 0 for other files."""
    if image.format != "TIFF":
        return 0
    bits: int = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return bits


def _is_deep_tiff(image: Image.Image) -> bool:
    """Whether Pillow would read 8 of 16 bits of RGB. Of CMYK they will do, it becomes sRGB."""
    if _tiff_bits(image) <= 8 or image.mode.startswith(("I", "F")):
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, photometric = set(tags[_BITS_PER_SAMPLE]), tags.get(_PHOTOMETRIC)
    if bits != {16} or set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
        raise LKDNError(f"samples of {max(bits)} bits are not supported, only 8 and 16")
    if photometric == _CMYK and tags.get(_PLANES) != 2:  # which Pillow reads as planes of 8 bits
        return False
    if photometric != _RGB:
        kind = "CMYK in planes" if photometric == _CMYK else f"photometric {photometric}"
        raise LKDNError(f"16-bit colour has to be RGB in a TIFF, got {kind}")
    if _STRIPS not in tags:
        raise LKDNError("16-bit colour has to be in strips in a TIFF, got tiles")
    return True


def _deep_tiff(image: Image.Image, data: bytes) -> NDArray[Any]:
    """RGB of a TIFF with 16 bits. The fourth sample means what Pillow takes it for in 8 bits."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    pixels = _decode_deep(_strips_only(tags, data), "tiff", err_detect="explode")
    kind = tags.get(_EXTRA_SAMPLES, (None,))[0]
    if pixels.shape[2] == 4 and kind == _UNSPECIFIED:
        pixels = pixels[..., :3].copy()
    elif pixels.shape[2] == 4 and kind == _MULTIPLIED:
        import torch  # here, so that planning needs none of it

        from lkdn_core.quantize import quantize

        colour, alpha = pixels[..., :3].astype(np.float64), np.maximum(pixels[..., 3:], 1)
        pixels[..., :3] = quantize(torch.from_numpy(colour * 65535 / alpha), bits=16).numpy()
    return pixels


def _strips_only(tags: Any, data: bytes) -> bytes:
    """The TIFF ``data`` with a new directory of only the tags that tell where its samples lie.

    FFmpeg goes on after damage unless told to stop, and then it also stops at tags unknown to it,
    such as EXIF's.
    """
    directory, head = ImageFileDirectory_v2(prefix=tags.prefix), BytesIO()
    for tag in _STRIP_TAGS:
        if tag in tags:
            directory[tag] = tags[tag]
    directory.setdefault(_ROWS_PER_STRIP, tags[_HEIGHT])
    directory.save(head)  # adds its own length to where the strips begin
    return head.getvalue() + data


def _deep_gray(image: Image.Image) -> NDArray[Any]:
    """Gray of a TIFF with 12 or 16 bits, which Pillow gives as it is stored, as 16 with black 0."""
    # A copy has the size of the stored pixels; the image itself may tell that of the turned ones.
    stored = np.asarray(image.copy()).astype(np.uint32)
    tags = image.tag_v2  # type: ignore[attr-defined]
    white = 2 ** tags[_BITS_PER_SAMPLE][0] - 1
    pixels: NDArray[Any] = ((stored * 65535 + white // 2) // white).astype(np.uint16)
    return np.invert(pixels) if tags.get(_PHOTOMETRIC) == 0 else pixels


def _decode_deep(data: bytes, codec: str, **options: str) -> NDArray[Any]:
    """The pixels of a picture with 16 bits by FFmpeg; Pillow has no 16-bit colour."""
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, options
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except MemoryError:
        raise
    except av.FFmpegError as error:  # its own text says nothing about the file
        raise LKDNError("is damaged, or its 16-bit samples are packed in an unknown way") from error
    if not frames:
        raise LKDNError("is damaged")
    frame = frames[0]
    layout = _DEEP.get(frame.format.name.removesuffix("be").removesuffix("le"))
    if layout is None:
        raise LKDNError(f"16-bit samples laid out as {frame.format.name} are not supported")
    if frame.format.name != layout:
        frame = repacked(progressive(frame), layout)  # Adam7 is flagged as fields are
    rows = np.frombuffer(frame.planes[0], np.uint16).reshape(frame.height, -1)
    channels = len(frame.format.components)
    return rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels).copy()


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
