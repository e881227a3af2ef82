"""What a format means in numbers: scales, offsets, matrices and sums, for whatever converts it.

Formulas are those of ITU-T H.273 (section 8.3). Two tables, `decoding` and `encoding`, say all of a
conversion, so that C++ and GPU kernels need to know nothing of formats.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lkdn_core.chroma import Taps, enlarging_taps, shrinking_taps, sites
from lkdn_core.formats import FrameFormat

__all__ = ["Conversion", "coding", "decoding", "decoding_rows", "encoding", "encoding_rows"]

#: Weights of red and blue in luma (H.273 table 4).
_RED_BLUE: Final = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One way of converting. A sample of a plane is ``offset + scale * value``, each by plane.

    A row of ``matrix`` makes a channel of all values, or a value of all channels; without it each
    channel is the value of the plane of its number. Integers are clipped to ``limit``.

    ``vertical`` and ``horizontal``: how many luma samples share one of chroma, and the sums that
    resample chroma: enlarging has one for each of these samples, shrinking one for all.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...] = ()
    limit: float = 0.0
    vertical: tuple[int, tuple[Taps, ...]] = (1, (((0, 1.0),),))
    horizontal: tuple[int, tuple[Taps, ...]] = (1, (((0, 1.0),),))


@lru_cache
def decoding(format: FrameFormat) -> Conversion:
    """How planes of a resolved ``format`` become RGB."""
    scale, offset = _codings(format)
    if format.family != "yuv":
        return Conversion(scale=scale, offset=offset)
    rows, columns = (
        (factor, tuple(enlarging_taps(factor, site))) for factor, site in sites(format)
    )
    matrix = tuple((1.0, *row) for row in decoding_rows(format.matrix))
    return Conversion(scale=scale, offset=offset, matrix=matrix, vertical=rows, horizontal=columns)


@lru_cache
def encoding(format: FrameFormat) -> Conversion:
    """How RGB becomes planes of a resolved ``format``."""
    scale, offset = _codings(format)
    limit = 2.0**format.bits - 1
    if format.family == "rgb":
        return Conversion(scale=scale, offset=offset, limit=limit)
    rows, columns = ((factor, (shrinking_taps(factor, site),)) for factor, site in sites(format))
    return Conversion(
        scale=scale,
        offset=offset,
        matrix=encoding_rows(format.matrix)[: len(scale)],
        limit=limit,
        vertical=rows,
        horizontal=columns,
    )


def _codings(format: FrameFormat) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of each plane."""
    count = 1 if format.family == "gray" else 3
    pairs = [coding(format, chroma=i > 0 and format.family == "yuv") for i in range(count)]
    scale, offset = zip(*pairs, strict=True)
    return scale, offset


def decoding_rows(matrix: str | None) -> tuple[tuple[float, float], ...]:
    """What one unit of each chroma adds to R, G and B; luma adds 1 to all three."""
    if matrix == "ycgco":
        return (-1, 1), (1, 0), (-1, -1)
    red, green, blue = _luma_weights(matrix)
    from_cb, from_cr = 2 * (1 - blue), 2 * (1 - red)
    return (0, from_cr), (-from_cb * blue / green, -from_cr * red / green), (from_cb, 0)


def encoding_rows(matrix: str | None) -> tuple[tuple[float, float, float], ...]:
    """What one unit of R, G and B adds to luma and to each chroma."""
    if matrix == "ycgco":
        return (0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0, -0.5)
    red, green, blue = luma = _luma_weights(matrix)
    from_b, from_r = 0.5 / (1 - blue), 0.5 / (1 - red)
    cb = (-red * from_b, -green * from_b, 0.5)
    return luma, cb, (0.5, -green * from_r, -blue * from_r)


def coding(format: FrameFormat, *, chroma: bool) -> tuple[float, float]:
    """(scale, offset) of a plane: sample = offset + scale * value."""
    scale, offset = _standard_coding(format, chroma=chroma)
    if not format.headroom:
        return scale, offset
    # What is v otherwise is (219 v + 16) / 255 there. Chroma has no black to move.
    return scale * 255 / 219, offset - (0 if chroma else scale * 16 / 219)


def _standard_coding(format: FrameFormat, *, chroma: bool) -> tuple[float, float]:
    """`coding` without headroom (H.273 equations 20 to 31)."""
    if format.sample_type == "float":
        return 1.0, 0.0
    if format.color_range == "full":
        return 2.0**format.bits - 1, 2.0 ** (format.bits - 1) if chroma else 0.0
    unit = 2.0 ** (format.bits - 8)
    if not chroma:
        return 219 * unit, 16 * unit
    # YCgCo is defined on the codes of R, G and B, so its chroma keeps their scale.
    return (219 if format.matrix == "ycgco" else 224) * unit, 128 * unit


def _luma_weights(matrix: str | None) -> tuple[float, float, float]:
    assert matrix is not None, "a resolved format has a matrix"
    red, blue = _RED_BLUE[matrix]
    return red, 1 - red - blue, blue
