"""Planes of any supported format to RGB and back, on whatever device they are.

Formulas are those of ITU-T H.273 (section 8.3); chroma is resampled with the Catmull-Rom bicubic,
antialiased when shrinking, borders mirrored, as in VapourSynth's ``resize.Bicubic``. Everything is
float32 and element-wise: convolutions of one channel are several times slower on a CPU, and on a
GPU they may run in TF32, which has fewer bits than a 16-bit sample.

``to_rgb`` and ``from_rgb`` take the C++ of `native_color` or the GPU kernels of `triton_color`
where they can; what runs without either, or on a CPU in half precision, is here, and is the
reference for both.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from lkdn_core import native_color, triton_color
from lkdn_core.chroma import downsample, upsample
from lkdn_core.conversion import coding, decoding, decoding_rows, encoding, encoding_rows
from lkdn_core.errors import FormatError
from lkdn_core.formats import FrameFormat
from lkdn_core.quantize import quantize

__all__ = ["check_planes", "clip", "dense", "from_rgb", "from_rgb_plain", "to_rgb", "to_rgb_plain"]

#: Luma samples encoded at a time on a CPU: they stay in its cache, and no copy of a large picture
#: is made. Never fewer rows than ``_MIN_BAND``, so that mirrored borders lie in one band.
_BAND_SAMPLES: Final = 2**18
_MIN_BAND: Final = 64
#: Luma rows that a chroma sample may reach beyond its own: two of the coarsest chroma.
_REACH: Final = 16


def to_rgb(
    planes: Sequence[Tensor], format: FrameFormat, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Decode the planes of N pictures to RGB.

    ``planes``: each (N, H, W) of ``format.dtype``, with the sizes of ``format.plane_shapes``; order
    R, G, B or Y, Cb, Cr (Cg, Co for ycgco) or the single plane of gray, which fills all three
    channels. Tags that ``format`` leaves open are guessed from the size (`FrameFormat.resolved`).
    Returns (N, 3, H, W) of ``dtype``, any float one, contiguous, clipped to [0, 1]. Raises
    `FormatError` where the planes do not fit the format.
    """
    check_planes(planes, format)
    batch, height, width = planes[0].shape
    format = format.resolved(width, height)
    shape, device = (batch, 3, height, width), planes[0].device
    if triton_color.converts(*planes):
        rgb = torch.empty(shape, dtype=dtype, device=device)
        triton_color.decode(planes, rgb, decoding(format))
    elif native_color.decodes(planes):
        rgb = torch.empty(shape, dtype=torch.float32, device=device)
        native_color.decode(planes, rgb, decoding(format))
    else:
        rgb = to_rgb_plain(planes, format)
    return rgb.to(dtype)


def to_rgb_plain(planes: Sequence[Tensor], format: FrameFormat) -> Tensor:
    """`to_rgb` of a resolved format in plain torch, for planes that `check_planes` passed."""
    batch, height, width = planes[0].shape
    values = [_decode(plane, format, chroma=i > 0) for i, plane in enumerate(planes)]
    if format.family != "yuv":
        return clip(torch.stack(values if len(values) == 3 else values * 3, 1))
    luma, chroma = values[0], upsample(torch.stack(values[1:]), format, height, width)
    rgb = luma.new_empty(batch, 3, height, width)
    for channel, weights in enumerate(decoding_rows(format.matrix)):
        total, out = luma, rgb[:, channel]
        for plane, weight in zip(chroma, weights, strict=True):
            if weight:
                total = torch.add(total, plane, alpha=weight, out=out)
    return clip(rgb)


def clip(rgb: Tensor) -> Tensor:
    """``rgb`` clipped to [0, 1]; what is not a number becomes 0."""
    return rgb.clamp(0, 1).nan_to_num_(0)


def from_rgb(
    rgb: Tensor, format: FrameFormat, *, out: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Encode RGB (N, 3, H, W) of any float dtype as the planes of ``format``.

    RGB is clipped to [0, 1] first. Returns contiguous planes (N, h, w) of ``format.dtype`` on the
    same device, in the order of `to_rgb`. Tags that ``format`` leaves open are guessed from H and
    W; an upscaled picture is larger than its source, so pass ``source_format.resolved(...)`` with
    the size of the source. Float chroma may overshoot [-0.5, 0.5] a little at sharp edges. ``out``:
    planes to fill and return instead of new ones; they may be strided. Raises `FormatError`.
    """
    if rgb.ndim != 4 or rgb.shape[1] != 3 or 0 in rgb.shape[2:] or not rgb.is_floating_point():
        kind = f"{tuple(rgb.shape)} {rgb.dtype}"
        raise FormatError(f"rgb: a float tensor (N, 3, H, W) is accepted, got {kind}")
    n, _, height, width = rgb.shape
    format = format.resolved(width, height)
    if out is None:
        planes = [
            torch.empty((n, *shape), dtype=format.dtype, device=rgb.device)
            for shape in format.plane_shapes(width, height)
        ]
    else:
        planes = list(out)
        check_planes(planes, format)
        if planes[0].shape != (n, height, width):
            wanted, got = (n, height, width), tuple(planes[0].shape)
            raise FormatError(f"out: planes of {wanted} are accepted, got {got}")
    if triton_color.converts(rgb, *planes):
        triton_color.encode(rgb, planes, encoding(format))
    elif native_color.encodes(rgb, planes):
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


def dense(x: Tensor) -> bool:
    """Whether ``x`` has all its samples, one after the other at fixed distances."""
    return not (x.is_nested or x.layout != torch.strided or x.is_meta)


def check_planes(planes: Sequence[Tensor], format: FrameFormat) -> None:
    """Raise `FormatError` unless ``planes``, each (N, h, w), are frames of ``format``."""
    if not isinstance(format, FrameFormat):
        raise FormatError(f"format: a FrameFormat is accepted, got {format!r}")
    if isinstance(planes, Tensor):
        got = f"a tensor {tuple(planes.shape)}"
        raise FormatError(f"planes: a list of tensors (N, h, w) is accepted, got {got}")
    if wrong := [type(plane).__name__ for plane in planes if not isinstance(plane, Tensor)]:
        raise FormatError(f"planes: tensors (N, H, W) are accepted, got {wrong[0]}")
    for plane in planes:
        if not dense(plane):
            kind = f"{plane.layout} on {plane.device}"
            raise FormatError(f"planes: dense tensors with data are accepted, got {kind}")
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
    around = clip(rgb[:, :, start:stop]).float()
    own = around[:, :, top - start : bottom - start]
    if format.family == "rgb":
        for plane, values in zip(planes, own.unbind(1), strict=True):
            plane[:, top:bottom] = _encode(values, format)
        return
    rows = encoding_rows(format.matrix)
    planes[0][:, top:bottom] = _encode(_mix(own, rows[:1])[0], format)
    if format.family == "gray":
        return
    factor = 1 << format.subsampling[1]
    chroma_rows = slice(top // factor, -(-bottom // factor))
    chroma = downsample(_mix(around, rows[1:]), format, top - start, bottom - start)
    for plane, values in zip(planes[1:], chroma, strict=True):
        plane[:, chroma_rows] = _encode(values, format, chroma=True)


def _decode(plane: Tensor, format: FrameFormat, *, chroma: bool) -> Tensor:
    """Samples to float32 values, in [0, 1] or for chroma in [-0.5, 0.5]; not clipped."""
    scale, offset = coding(format, chroma=chroma and format.family == "yuv")
    values = plane.to(torch.float32, copy=True)  # float planes are the caller's
    return values.sub_(offset).div_(scale)


def _encode(values: Tensor, format: FrameFormat, *, chroma: bool = False) -> Tensor:
    """The inverse of `_decode`; overwrites ``values``."""
    scale, offset = coding(format, chroma=chroma)
    values.mul_(scale).add_(offset)
    if format.sample_type == "float":
        return values.to(format.dtype).contiguous()
    return quantize(values, bits=format.bits).contiguous()


def _mix(rgb: Tensor, rows: Sequence[tuple[float, float, float]]) -> Tensor:
    """One weighted sum of the channels of (N, 3, H, W) a row, as (len(rows), N, H, W)."""
    r, g, b = rgb.unbind(1)
    out = rgb.new_empty(len(rows), *r.shape)
    for plane, row in zip(out, rows, strict=True):
        torch.mul(r, row[0], out=plane).add_(g, alpha=row[1]).add_(b, alpha=row[2])
    return out
