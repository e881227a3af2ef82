"""Planes of any supported format to RGB and back, on whatever device they are.

Formulas are those of ITU-T H.273 (section 8.3); chroma is resampled with the Catmull-Rom bicubic,
antialiased when shrinking, borders mirrored, as in VapourSynth's ``resize.Bicubic``. Everything is
float32 and element-wise: convolutions of one channel are several times slower on a CPU, and on a
GPU they may run in TF32, which has fewer bits than a 16-bit sample.

``to_rgb`` and ``from_rgb`` take the C++ of `native_color` where they can; what runs on a GPU, in
half precision or without the library is here, and is the reference for it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from lkdn_core import native_color
from lkdn_core.chroma import downsample, enlarging_taps, shrinking_taps, sites, upsample
from lkdn_core.errors import FormatError
from lkdn_core.formats import FrameFormat
from lkdn_core.native_color import Conversion
from lkdn_core.quantize import quantize

__all__ = [
    "check_planes",
    "decoding",
    "encoding",
    "from_rgb",
    "from_rgb_plain",
    "to_rgb",
    "to_rgb_plain",
]

#: Weights of red and blue in luma (H.273 table 4).
_RED_BLUE: Final = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}

#: Luma samples encoded at a time on a CPU: they stay in its cache, and no copy of a large picture
#: is made. Never fewer rows than ``_MIN_BAND``, so that mirrored borders lie in one band.
_BAND_SAMPLES: Final = 2**18
_MIN_BAND: Final = 64
#: Luma rows that a chroma sample may reach beyond its own: two of the coarsest chroma.
_REACH: Final = 16


def to_rgb(planes: Sequence[Tensor], format: FrameFormat) -> Tensor:
    """Decode the planes of N pictures to RGB.

    ``planes``: each (N, H, W) of ``format.dtype``, with the sizes of ``format.plane_shapes``; order
    R, G, B or Y, Cb, Cr (Cg, Co for ycgco) or the single plane of gray, which fills all three
    channels. Tags that ``format`` leaves open are guessed from the size (`FrameFormat.resolved`).
    Returns float32 (N, 3, H, W), contiguous, clipped to [0, 1]. Raises `FormatError` where the
    planes do not fit the format.
    """
    check_planes(planes, format)
    batch, height, width = planes[0].shape
    format = format.resolved(width, height)
    if native_color.decodes(planes):
        rgb = torch.empty(batch, 3, height, width, dtype=torch.float32, device=planes[0].device)
        native_color.decode(planes, rgb, decoding(format))
        return rgb
    return to_rgb_plain(planes, format)


def to_rgb_plain(planes: Sequence[Tensor], format: FrameFormat) -> Tensor:
    """`to_rgb` of a resolved format in plain torch, for planes that `check_planes` passed."""
    batch, height, width = planes[0].shape
    values = [_decode(plane, format, chroma=i > 0) for i, plane in enumerate(planes)]
    if format.family != "yuv":
        return torch.stack(values if len(values) == 3 else values * 3, 1).clamp_(0, 1)
    luma, chroma = values[0], upsample(torch.stack(values[1:]), format, height, width)
    rgb = luma.new_empty(batch, 3, height, width)
    for channel, weights in enumerate(_decoding_rows(format.matrix)):
        total, out = luma, rgb[:, channel]
        for plane, weight in zip(chroma, weights, strict=True):
            if weight:
                total = torch.add(total, plane, alpha=weight, out=out)
    return rgb.clamp_(0, 1)


def from_rgb(
    rgb: Tensor, format: FrameFormat, *, out: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Encode RGB (N, 3, H, W) of any float dtype as the planes of ``format``.

    RGB is clipped to [0, 1] first. Returns contiguous planes (N, h, w) of ``format.dtype`` on the
    same device, in the order of `to_rgb`. Tags that ``format`` leaves open are guessed from H and
    W; an upscaled picture is larger than its source, so pass ``source_format.resolved(...)`` with
    the size of the source. Float chroma may overshoot [-0.5, 0.5] a little at sharp edges. ``out``:
    planes to fill and return instead of new ones; they may be strided.
    """
    if rgb.ndim != 4 or rgb.shape[1] != 3 or 0 in rgb.shape[2:]:
        raise FormatError(f"rgb: shape (N, 3, H, W) is accepted, got {tuple(rgb.shape)}")
    n, _, height, width = rgb.shape
    format = format.resolved(width, height)
    planes = (
        list(out)
        if out is not None
        else [
            torch.empty((n, *shape), dtype=format.dtype, device=rgb.device)
            for shape in format.plane_shapes(width, height)
        ]
    )
    if native_color.encodes(rgb, planes):
        native_color.encode(rgb, planes, encoding(format))
    else:
        from_rgb_plain(rgb, planes, format)
    return planes


def from_rgb_plain(rgb: Tensor, planes: Sequence[Tensor], format: FrameFormat) -> None:
    """`from_rgb` of a resolved format in plain torch: fills ``planes`` (N, h, w), maybe strided."""
    n, _, height, width = rgb.shape
    fitting = _BAND_SAMPLES // max(1, n * width)
    band = height if rgb.device.type != "cpu" else max(_MIN_BAND, fitting)
    band -= band % (1 << format.subsampling[1]) if band < height else 0
    for top in range(0, height, band):
        _encode_rows(rgb, planes, format, top, min(top + band, height))


def check_planes(planes: Sequence[Tensor], format: FrameFormat) -> None:
    """Raise `FormatError` unless ``planes``, each (N, h, w), are frames of ``format``."""
    first = planes[0].shape if planes else torch.Size()
    if len(first) != 3 or 0 in first[1:]:
        raise FormatError(f"planes: tensors (N, H, W) are accepted, got {tuple(first)}")
    wanted = [(first[0], *shape) for shape in format.plane_shapes(first[2], first[1])]
    got = [tuple(plane.shape) for plane in planes]
    if got != wanted:
        raise FormatError(f"planes: shapes {wanted} are accepted for this format, got {got}")
    for plane in planes:
        if plane.dtype != format.dtype:
            raise FormatError(f"planes: {format.dtype} is accepted here, got {plane.dtype}")


def _encode_rows(
    rgb: Tensor, planes: Sequence[Tensor], format: FrameFormat, top: int, bottom: int
) -> None:
    """Fill luma rows ``top:bottom`` of ``planes``, and the chroma rows that stand for them."""
    # Chroma is made from rows above and below too: the same numbers as from the whole picture.
    start, stop = max(0, top - _REACH), min(bottom + _REACH, rgb.shape[-2])
    around = rgb[:, :, start:stop].clamp(0, 1).float()
    own = around[:, :, top - start : bottom - start]
    if format.family == "rgb":
        for plane, values in zip(planes, own.unbind(1), strict=True):
            plane[:, top:bottom] = _encode(values, format)
        return
    rows = _encoding_rows(format.matrix)
    planes[0][:, top:bottom] = _encode(_mix(own, rows[:1])[0], format)
    if format.family == "gray":
        return
    factor = 1 << format.subsampling[1]
    chroma_rows = slice(top // factor, -(-bottom // factor))
    chroma = downsample(_mix(around, rows[1:]), format, top - start, bottom - start)
    for plane, values in zip(planes[1:], chroma, strict=True):
        plane[:, chroma_rows] = _encode(values, format, chroma=True)


def _coding(format: FrameFormat, chroma: bool) -> tuple[float, float]:
    """(scale, offset) of integers: code = offset + scale * value (H.273 equations 20 to 31)."""
    if format.color_range == "full":
        return 2.0**format.bits - 1, 2.0 ** (format.bits - 1) if chroma else 0.0
    unit = 2.0 ** (format.bits - 8)
    if not chroma:
        return 219 * unit, 16 * unit
    # YCgCo is defined on the codes of R, G and B, so its chroma keeps their scale.
    return (219 if format.matrix == "ycgco" else 224) * unit, 128 * unit


def _decode(plane: Tensor, format: FrameFormat, *, chroma: bool) -> Tensor:
    """Samples to float32 values, in [0, 1] or for chroma in [-0.5, 0.5]; not clipped."""
    if format.sample_type == "float":
        return plane.float()
    scale, offset = _coding(format, chroma and format.family == "yuv")
    return plane.float().sub_(offset).div_(scale)


def _encode(values: Tensor, format: FrameFormat, *, chroma: bool = False) -> Tensor:
    """The inverse of `_decode`; integer formats overwrite ``values``."""
    if format.sample_type == "float":
        return values.to(format.dtype).contiguous()
    scale, offset = _coding(format, chroma)
    return quantize(values.mul_(scale).add_(offset), bits=format.bits).contiguous()


@lru_cache
def decoding(format: FrameFormat) -> Conversion:
    """How `native_color` decodes a resolved ``format``."""
    scale, offset = _codings(format)
    if format.family != "yuv":
        return Conversion(scale=scale, offset=offset)
    rows, columns = (
        (factor, tuple(enlarging_taps(factor, site))) for factor, site in sites(format)
    )
    matrix = tuple((1.0, *row) for row in _decoding_rows(format.matrix))
    return Conversion(scale=scale, offset=offset, matrix=matrix, vertical=rows, horizontal=columns)


@lru_cache
def encoding(format: FrameFormat) -> Conversion:
    """How `native_color` encodes a resolved ``format``."""
    scale, offset = _codings(format)
    limit = 2.0**format.bits - 1
    if format.family == "rgb":
        return Conversion(scale=scale, offset=offset, limit=limit)
    rows, columns = ((factor, (shrinking_taps(factor, site),)) for factor, site in sites(format))
    return Conversion(
        scale=scale,
        offset=offset,
        matrix=_encoding_rows(format.matrix)[: len(scale)],
        limit=limit,
        vertical=rows,
        horizontal=columns,
    )


def _codings(format: FrameFormat) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of each plane."""
    count = 1 if format.family == "gray" else 3
    if format.sample_type == "float":
        return (1.0,) * count, (0.0,) * count
    pairs = [_coding(format, i > 0 and format.family == "yuv") for i in range(count)]
    scale, offset = zip(*pairs, strict=True)
    return scale, offset


def _decoding_rows(matrix: str | None) -> tuple[tuple[float, float], ...]:
    """What one unit of each chroma adds to R, G and B; luma adds 1 to all three."""
    if matrix == "ycgco":
        return (-1, 1), (1, 0), (-1, -1)
    red, green, blue = _luma_weights(matrix)
    from_cb, from_cr = 2 * (1 - blue), 2 * (1 - red)
    return (0, from_cr), (-from_cb * blue / green, -from_cr * red / green), (from_cb, 0)


def _encoding_rows(matrix: str | None) -> tuple[tuple[float, float, float], ...]:
    """What one unit of R, G and B adds to luma and to each chroma."""
    if matrix == "ycgco":
        return (0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0, -0.5)
    red, green, blue = luma = _luma_weights(matrix)
    from_b, from_r = 0.5 / (1 - blue), 0.5 / (1 - red)
    cb = (-red * from_b, -green * from_b, 0.5)
    return luma, cb, (0.5, -green * from_r, -blue * from_r)


def _luma_weights(matrix: str | None) -> tuple[float, float, float]:
    assert matrix is not None, "a resolved format has a matrix"
    red, blue = _RED_BLUE[matrix]
    return red, 1 - red - blue, blue


def _mix(rgb: Tensor, rows: Sequence[tuple[float, float, float]]) -> Tensor:
    """One weighted sum of the channels of (N, 3, H, W) a row, as (len(rows), N, H, W)."""
    r, g, b = rgb.unbind(1)
    out = rgb.new_empty(len(rows), *r.shape)
    for plane, row in zip(out, rows, strict=True):
        torch.mul(r, row[0], out=plane).add_(g, alpha=row[1]).add_(b, alpha=row[2])
    return out
