"""Writing PNG of 16 bits a sample (ISO/IEC 15948), of which Pillow has gray alone."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lkdn_media.png import PNG_SIGNATURE, png_chunk

__all__ = ["pack_deep_png"]

#: Kinds of colour by channels: gray, gray and alpha, RGB, RGBA.
_COLOURS: Final = {1: 0, 2: 4, 3: 2, 4: 6}
#: Bytes filtered at once, a chunk each.
_AT_ONCE: Final = 2**20


def pack_deep_png(pixels: NDArray[Any]) -> bytes:
    """A PNG of ``pixels`` (H, W, C), uint16; C = 1 gray, 2 with alpha, 3 RGB, 4 RGBA."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, _COLOURS[channels], 0, 0, 0)
    parts = [PNG_SIGNATURE, png_chunk(b"IHDR", head)]
    packer = zlib.compressobj()
    for rows in _filtered(pixels):
        if packed := packer.compress(rows):
            parts.append(png_chunk(b"IDAT", packed))
    return b"".join([*parts, png_chunk(b"IDAT", packer.flush()), png_chunk(b"IEND", b"")])


def _filtered(pixels: NDArray[Any]) -> Iterator[bytes]:
    """The rows, each with the filter whose differences are the smallest, as section 12.7 has it."""
    height, width, channels = pixels.shape
    pixel, step = 2 * channels, max(1, _AT_ONCE // (2 * width * channels))
    last = np.zeros((1, 2 * width * channels), np.uint8)
    for top in range(0, height, step):
        part = np.ascontiguousarray(pixels[top : top + step], ">u2")
        here = part.view(np.uint8).reshape(len(part), -1)
        above = np.concatenate([last, here[:-1]])
        last = here[-1:]
        left, corner = (np.pad(x, ((0, 0), (pixel, 0)))[:, :-pixel] for x in (here, above))
        mean = (left.astype(np.uint16) + above) // 2
        guesses = (0, left, above, mean.astype(np.uint8), _paeth(left, above, corner))
        tried = np.stack([here - guess for guess in guesses])  # modulo 256
        best = np.abs(tried.view(np.int8).astype(np.int16)).sum(-1).argmin(0)
        rows = tried[best, np.arange(len(here))]
        yield np.concatenate([best.astype(np.uint8)[:, None], rows], 1).tobytes()


def _paeth(left: NDArray[Any], above: NDArray[Any], corner: NDArray[Any]) -> NDArray[Any]:
    """Of the three the nearest to ``left + above - corner``; the first ones where equal."""
    a, b, c = (x.astype(np.int16) for x in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_b <= to_c, above, corner)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, nearest)
