"""Pictures with samples of 16 bits, of which Pillow reads only gray."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import LKDNError
from lkdn_media.formats import repacked
from lkdn_media.png import PNG_SIGNATURE, png_chunks
from lkdn_media.side_data import progressive

__all__ = ["deep_gray", "deep_png", "deep_tiff", "is_deep_tiff", "tiff_bits"]

#: All that FFmpeg has to know of a PNG: it stops at damage anywhere else, too.
_PNG_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _STRIPS, _ROWS_PER_STRIP = 257, 258, 262, 273, 278
_PLANES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 338, 339
_RGB, _CMYK = 2, 5
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


def deep_png(data: bytes) -> NDArray[Any]:
    """The pixels of a PNG with 16 bits."""
    needed = [chunk for name, chunk in png_chunks(data) if name in _PNG_CHUNKS]
    return _decode(b"".join((PNG_SIGNATURE, *needed)), "png")


def tiff_bits(image: Image.Image) -> int:
    """Bits of the deepest sample of a TIFF, 0 for other files."""
    if image.format != "TIFF":
        return 0
    bits: int = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return bits


def is_deep_tiff(image: Image.Image) -> bool:
    """Whether Pillow would read 8 of 16 bits of RGB. Of CMYK they will do, it becomes sRGB."""
    if tiff_bits(image) <= 8 or image.mode.startswith(("I", "F")):
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


def deep_tiff(image: Image.Image, data: bytes) -> NDArray[Any]:
    """RGB of a TIFF with 16 bits. The fourth sample means what Pillow takes it for in 8 bits."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    pixels = _decode(_strips_only(tags, data), "tiff", {"err_detect": "explode"})
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


def deep_gray(image: Image.Image) -> NDArray[Any]:
    """Gray of a TIFF with 12 or 16 bits, which Pillow gives as it is stored, as 16 with black 0."""
    # A copy has the size of the stored pixels; the image itself may tell that of the turned ones.
    stored = np.asarray(image.copy()).astype(np.uint32)
    tags = image.tag_v2  # type: ignore[attr-defined]
    white = 2 ** tags[_BITS_PER_SAMPLE][0] - 1
    pixels: NDArray[Any] = ((stored * 65535 + white // 2) // white).astype(np.uint16)
    return np.invert(pixels) if tags.get(_PHOTOMETRIC) == 0 else pixels


def _decode(data: bytes, codec: str, options: Mapping[str, str] | None = None) -> NDArray[Any]:
    """The pixels of a picture with 16 bits by FFmpeg; Pillow has no 16-bit colour."""
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, dict(options or {})
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
