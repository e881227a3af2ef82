"""Planes to RGB and RGB to planes, one kernel each way: each reads once and writes once.

The numbers are those of a `lkdn_core.conversion.Conversion`, compiled in. A group is the ``FY``
rows of ``FX`` luma samples that share a sample of chroma; ``c`` numbers groups, ``py`` and ``px``
what is in one. ``ROWS`` and ``COLUMNS`` are the addends of the sum that resamples chroma: how many
groups away, and a weight for each sample of a group. Enlarging, they differ in what they take of a
sample of chroma, shrinking in what they give. Outside the picture is its mirror image.
"""

import triton
import triton.language as tl

from lkdn_core.kernels.parts import row_inside

#: Adding and taking it away rounds floats from 0 to 2^22 to whole numbers, halves to the even one.
WHOLE = tl.constexpr(12582912.0)
_PLANES = ("", "0", "1", "2")
#: A column stride of 1 is compiled in; other sizes and addresses ask for no compilation.
kernel = triton.jit(
    do_not_specialize=["rgb", "H", "W", "SC"]
    + ["plane" + k for k in _PLANES[1:]]
    + [name + k for name in ("SN", "SY") for k in _PLANES],
    do_not_specialize_on_alignment=["SX" + k for k in _PLANES],
)


@triton.jit
def mirrored(i, n):
    """The sample that stands for number ``i``: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    i = i % (2 * n)
    i = tl.where(i < 0, i + 2 * n, i)
    return tl.where(i < n, i, 2 * n - 1 - i)


@triton.jit
def clipped(v):
    return tl.minimum(tl.maximum(v.to(tl.float32), 0.0), 1.0)


@triton.jit
def one_of(index, VALUES: tl.constexpr):
    """``VALUES[index]`` as float32, in the shape of ``index``."""
    value = tl.full(index.shape, VALUES[0], tl.float32)
    for i in tl.static_range(1, len(VALUES)):
        value = tl.where(index == i, VALUES[i], value)
    return value


@triton.jit
def value(pointer, inside, SCALE: tl.constexpr, OFFSET: tl.constexpr):
    """The inverse of ``put``. Truly divided, so that white is exactly 1."""
    v = tl.load(pointer, mask=inside, other=0).to(tl.float32) - OFFSET
    return tl.div_rn(v, tl.full(v.shape, SCALE, tl.float32))


@triton.jit
def put(pointer, v, inside, SCALE: tl.constexpr, OFFSET: tl.constexpr, LIMIT: tl.constexpr):
    """Store values as samples. Integers are rounded as in `lkdn_core.quantize`."""
    v = v * SCALE + OFFSET
    if not pointer.dtype.element_ty.is_floating():
        v = tl.minimum(tl.maximum(v, 0.0), LIMIT)
        v = ((v + WHOLE) - WHOLE).to(tl.int32)
    tl.store(pointer, v.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def enlarged(
    plane, i, c, py, px, H, W, SY, SX,
    OFFSET: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A plane (H, W) of chroma less ``OFFSET``, for the luma samples of groups ``i``, ``c``."""
    total = tl.zeros([py.shape[0], c.shape[0], px.shape[2]], tl.float32)
    for k in tl.static_range(len(COLUMNS)):
        x = mirrored(c + COLUMNS[k][0], W)[None, :, None] * SX
        line = tl.zeros([py.shape[0], c.shape[0], 1], tl.float32)
        for j in tl.static_range(len(ROWS)):
            row = plane + mirrored(i + ROWS[j][0], H).to(tl.int64) * SY
            # The offset goes first, so that grey is exactly grey.
            line += (tl.load(row + x).to(tl.float32) - OFFSET) * one_of(py, ROWS[j][1])
        total += line * one_of(px, COLUMNS[k][1])
    return total


@kernel
def decode(
    plane0, plane1, plane2, rgb, H, W,
    SN0, SY0, SX0, SN1, SY1, SX1, SN2, SY2, SX2, SN, SC, SY, SX,
    SCALE: tl.constexpr, OFFSET: tl.constexpr, MATRIX: tl.constexpr,
    FY: tl.constexpr, ROWS: tl.constexpr, FX: tl.constexpr, COLUMNS: tl.constexpr,
    TC: tl.constexpr,
):  # fmt: skip
    """``rgb`` (N, 3, H, W), clipped to [0, 1], of planes (N, h, w): a row of groups a program.

    The strides of a plane end in its number, those of ``rgb`` don't.
    """
    i, n = tl.program_id(0), tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * TC + tl.arange(0, TC)
    py, px = tl.arange(0, FY)[:, None, None], tl.arange(0, FX)[None, None, :]
    y, x = i * FY + py, c[None, :, None] * FX + px
    inside = (y < H) & (x < W)
    y = y.to(tl.int64)
    plane0, plane1, plane2 = plane0 + n * SN0, plane1 + n * SN1, plane2 + n * SN2
    first = value(plane0 + (y * SY0 + x * SX0), inside, SCALE[0], OFFSET[0])
    if len(MATRIX) > 0:
        h, w = (H + FY - 1) // FY, (W + FX - 1) // FX
        cb = enlarged(plane1, i, c, py, px, h, w, SY1, SX1, OFFSET[1], ROWS, COLUMNS)
        cr = enlarged(plane2, i, c, py, px, h, w, SY2, SX2, OFFSET[2], ROWS, COLUMNS)
        r = first + cb * (MATRIX[0][1] / SCALE[1]) + cr * (MATRIX[0][2] / SCALE[2])
        g = first + cb * (MATRIX[1][1] / SCALE[1]) + cr * (MATRIX[1][2] / SCALE[2])
        b = first + cb * (MATRIX[2][1] / SCALE[1]) + cr * (MATRIX[2][2] / SCALE[2])
    else:
        r = first
        g = value(plane1 + (y * SY1 + x * SX1), inside, SCALE[1], OFFSET[1])
        b = value(plane2 + (y * SY2 + x * SX2), inside, SCALE[2], OFFSET[2])
    target, channel = rgb + n * SN + (y * SY + x * SX), tl.cast(SC, tl.int64)
    tl.store(target, clipped(r).to(rgb.dtype.element_ty), mask=inside)
    tl.store(target + channel, clipped(g).to(rgb.dtype.element_ty), mask=inside)
    tl.store(target + 2 * channel, clipped(b).to(rgb.dtype.element_ty), mask=inside)


@triton.jit
def weighted(red, green, blue, WEIGHTS: tl.constexpr):
    return red * WEIGHTS[0] + green * WEIGHTS[1] + blue * WEIGHTS[2]


@triton.jit
def put_whole(
    at0, at1, at2, red, green, blue, inside,
    SCALE: tl.constexpr, OFFSET: tl.constexpr, LIMIT: tl.constexpr, MATRIX: tl.constexpr,
):  # fmt: skip
    """The planes that have every sample: luma, or R, G and B."""
    if len(MATRIX) > 0:
        put(at0, weighted(red, green, blue, MATRIX[0]), inside, SCALE[0], OFFSET[0], LIMIT)
    else:
        put(at0, red, inside, SCALE[0], OFFSET[0], LIMIT)
        put(at1, green, inside, SCALE[1], OFFSET[1], LIMIT)
        put(at2, blue, inside, SCALE[2], OFFSET[2], LIMIT)


@triton.jit
def shrunk(row, channel, x, px, W, SX, COLUMNS: tl.constexpr, MATRIX: tl.constexpr):
    """Both chromas (TC, 2) of a row, summed along it."""
    r = tl.zeros(x.shape, tl.float32)
    g, b = r, r
    for k in tl.static_range(len(COLUMNS)):
        at = row + mirrored(x + COLUMNS[k][0] * px.shape[1], W) * SX
        w = one_of(px, COLUMNS[k][1])
        r += clipped(tl.load(at)) * w
        g += clipped(tl.load(at + channel)) * w
        b += clipped(tl.load(at + 2 * channel)) * w
    r, g, b = tl.sum(r, 1), tl.sum(g, 1), tl.sum(b, 1)
    return tl.join(weighted(r, g, b, MATRIX[1]), weighted(r, g, b, MATRIX[2]))


@triton.jit
def added(s0, s1, s2, s3, s4, v, PHASE: tl.constexpr, ROWS: tl.constexpr):
    """``v`` added to the sum of each row of chroma that it is part of, the uppermost first."""
    LAST: tl.constexpr = len(ROWS) - 1
    s0 += v * ROWS[LAST][1][PHASE]
    if LAST > 0:
        s1 += v * ROWS[LAST - 1][1][PHASE]
    if LAST > 1:
        s2 += v * ROWS[LAST - 2][1][PHASE]
    if LAST > 2:
        s3 += v * ROWS[LAST - 3][1][PHASE]
    if LAST > 3:
        s4 += v * ROWS[LAST - 4][1][PHASE]
    return s0, s1, s2, s3, s4


@kernel
def encode(
    plane0, plane1, plane2, rgb, H, W,
    SN0, SY0, SX0, SN1, SY1, SX1, SN2, SY2, SX2, SN, SC, SY, SX,
    SCALE: tl.constexpr, OFFSET: tl.constexpr, LIMIT: tl.constexpr, MATRIX: tl.constexpr,
    FY: tl.constexpr, ROWS: tl.constexpr, FX: tl.constexpr, COLUMNS: tl.constexpr,
    TC: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """Planes (N, h, w) of ``rgb`` (N, 3, H, W), clipped first: ``TY`` rows of groups a program.

    It goes down the rows, with a sum for each of the up to five rows of chroma that one is part of.
    After the rows of a group the uppermost sum is complete.
    """
    n, top = tl.program_id(2).to(tl.int64), tl.program_id(0) * TY
    c = tl.program_id(1) * TC + tl.arange(0, TC)
    px = tl.arange(0, FX)[None, :]
    x = c[:, None] * FX + px
    plane0, plane1, plane2 = plane0 + n * SN0, plane1 + n * SN1, plane2 + n * SN2
    channel = tl.cast(SC, tl.int64)
    bottom = tl.minimum(top + TY, (H + FY - 1) // FY)
    LAST: tl.constexpr = ROWS[len(ROWS) - 1][0]
    zeros = tl.zeros([TC, 2], tl.float32)
    s0, s1, s2, s3, s4 = zeros, zeros, zeros, zeros, zeros
    for i in range(top + ROWS[0][0], bottom + LAST):
        for p in tl.static_range(FY):
            y = i * FY + p
            row = rgb + n * SN + mirrored(y, H).to(tl.int64) * SY
            own = (x < W) & row_inside(y - top * FY, tl.minimum(bottom * FY, H) - top * FY)
            at, yy = row + x * SX, y.to(tl.int64)
            red = clipped(tl.load(at, mask=own, other=0))
            green = clipped(tl.load(at + channel, mask=own, other=0))
            blue = clipped(tl.load(at + 2 * channel, mask=own, other=0))
            put_whole(
                plane0 + yy * SY0 + x * SX0, plane1 + yy * SY1 + x * SX1,
                plane2 + yy * SY2 + x * SX2, red, green, blue, own,
                SCALE, OFFSET, LIMIT, MATRIX,
            )  # fmt: skip
            if len(MATRIX) == 3:
                v = shrunk(row, channel, x, px, W, SX, COLUMNS, MATRIX)
                s0, s1, s2, s3, s4 = added(s0, s1, s2, s3, s4, v, p, ROWS)
        if len(MATRIX) == 3:
            cb, cr = tl.split(s0)
            s0, s1, s2, s3, s4 = s1, s2, s3, s4, zeros
            done = (c < (W + FX - 1) // FX) & row_inside(i - LAST - top, TY)
            yy = (i - LAST).to(tl.int64)
            put(plane1 + yy * SY1 + c * SX1, cb, done, SCALE[1], OFFSET[1], LIMIT)
            put(plane2 + yy * SY2 + c * SX2, cr, done, SCALE[2], OFFSET[2], LIMIT)
