"""Planes to RGB and RGB to planes, one kernel each way: each reads once and writes once.

A group is the ``FY`` rows of ``FX`` luma samples that share a sample of chroma; ``c`` numbers
groups, ``py`` and ``px`` what is in one. Chroma is resampled by sums over ``KY`` rows and ``KX``
columns of groups, the first of them ``Y0`` and ``X0`` groups away. Outside the picture is its
mirror image.

``table`` holds the numbers of a `lkdn_core.conversion.Conversion` as float32: scales, offsets,
three rows of a matrix, the limit of integers; from ``WEIGHTS`` on the weights of each addend of a
sum: (KY, FY), then (KX, FX). Enlarging, they are what a luma sample takes of chroma, shrinking what
it gives. Constants compiled in would ask for a compilation for each matrix, range and site, and as
tuples for the newest versions of Triton.
"""

import triton
import triton.language as tl

from lkdn_core.kernels.parts import row_inside

SCALE = tl.constexpr(0)
OFFSET = tl.constexpr(3)
MATRIX = tl.constexpr(6)
LIMIT = tl.constexpr(15)
WEIGHTS = tl.constexpr(16)
#: Adding and taking it away rounds floats from 0 to 2^22 to whole numbers, halves to the even one.
WHOLE = tl.constexpr(12582912.0)
_PLANES = ("", "0", "1", "2")
#: A column stride of 1 is compiled in; other sizes and addresses ask for no compilation.
kernel = triton.jit(
    do_not_specialize=["rgb", "table", "H", "W", "SC"]
    + ["plane" + k for k in _PLANES[1:]]
    + [name + k for name in ("SN", "SY") for k in _PLANES],
    do_not_specialize_on_alignment=["SX" + k for k in _PLANES],
)


@triton.jit
def mirrored(i, n):
    """The sample that stands for number ``i`` >= -32: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    # Never a remainder of negative numbers: Triton takes those of neighbours for neighbours.
    i = (i + 32 * n) % (2 * n)
    return tl.where(i < n, i, 2 * n - 1 - i)


@triton.jit
def clipped(v):
    return tl.minimum(tl.maximum(v.to(tl.float32), 0.0), 1.0)


@triton.jit
def three(pointer):
    return tl.load(pointer), tl.load(pointer + 1), tl.load(pointer + 2)


@triton.jit
def value(pointer, inside, scale, offset):
    """The inverse of ``put``. Truly divided, so that white is exactly 1."""
    return tl.div_rn(tl.load(pointer, mask=inside, other=0).to(tl.float32) - offset, scale)


@triton.jit
def put(pointer, v, inside, scale, offset, limit):
    """Store values as samples. Integers are rounded as in `lkdn_core.quantize`."""
    v = v * scale + offset
    if pointer.dtype.element_ty.is_int():
        v = tl.minimum(tl.maximum(v, 0.0), limit)
        v = ((v + WHOLE) - WHOLE).to(tl.int32)
    tl.store(pointer, v.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def enlarged(
    plane1, plane2, i, c, py, px, h, w, SY1, SX1, SY2, SX2, table,
    KY: tl.constexpr, Y0: tl.constexpr, KX: tl.constexpr, X0: tl.constexpr,
):  # fmt: skip
    """The values of two planes (h, w) of chroma at the luma samples of groups ``i``, ``c``."""
    FY: tl.constexpr = py.shape[0]
    FX: tl.constexpr = px.shape[2]
    # Offsets go first, so that grey is exactly grey.
    offset1, offset2 = tl.load(table + OFFSET + 1), tl.load(table + OFFSET + 2)
    total1 = tl.zeros([FY, c.shape[0], FX], tl.float32)
    total2 = total1
    for k in tl.static_range(KX):
        x = mirrored(c + (X0 + k), w)[None, :, None]
        line1 = tl.zeros([FY, c.shape[0], 1], tl.float32)
        line2 = line1
        for j in tl.static_range(KY):
            y = mirrored(i + (Y0 + j), h).to(tl.int64)
            weight = tl.load(table + WEIGHTS + j * FY + py)
            line1 += (tl.load(plane1 + y * SY1 + x * SX1).to(tl.float32) - offset1) * weight
            line2 += (tl.load(plane2 + y * SY2 + x * SX2).to(tl.float32) - offset2) * weight
        weight = tl.load(table + WEIGHTS + KY * FY + k * FX + px)
        total1 += line1 * weight
        total2 += line2 * weight
    scale1, scale2 = tl.load(table + SCALE + 1), tl.load(table + SCALE + 2)
    return total1 * (1.0 / scale1), total2 * (1.0 / scale2)


@kernel
def decode(
    plane0, plane1, plane2, rgb, table, H, W,
    SN0, SY0, SX0, SN1, SY1, SX1, SN2, SY2, SX2, SN, SC, SY, SX,
    MIXED: tl.constexpr, FY: tl.constexpr, KY: tl.constexpr, Y0: tl.constexpr,
    FX: tl.constexpr, KX: tl.constexpr, X0: tl.constexpr, TC: tl.constexpr,
):  # fmt: skip
    """``rgb`` (N, 3, H, W), clipped to [0, 1], of planes (N, h, w): a row of groups a program.

    The strides of a plane end in its number, those of ``rgb`` don't. ``MIXED``: by the matrix;
    otherwise each channel has a plane of its own.
    """
    i, n = tl.program_id(0), tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * TC + tl.arange(0, TC)
    py, px = tl.arange(0, FY)[:, None, None], tl.arange(0, FX)[None, None, :]
    y, x = i * FY + py, c[None, :, None] * FX + px
    inside = (y < H) & (x < W)
    y = y.to(tl.int64)
    plane0, plane1, plane2 = plane0 + n * SN0, plane1 + n * SN1, plane2 + n * SN2
    scale0, scale1, scale2 = three(table + SCALE)
    offset0, offset1, offset2 = three(table + OFFSET)
    r = value(plane0 + (y * SY0 + x * SX0), inside, scale0, offset0)
    if MIXED:
        h, w = (H + FY - 1) // FY, (W + FX - 1) // FX
        cb, cr = enlarged(
            plane1, plane2, i, c, py, px, h, w, SY1, SX1, SY2, SX2, table, KY, Y0, KX, X0
        )
        _, r_cb, r_cr = three(table + MATRIX)
        _, g_cb, g_cr = three(table + MATRIX + 3)
        _, b_cb, b_cr = three(table + MATRIX + 6)
        r, g, b = r + cb * r_cb + cr * r_cr, r + cb * g_cb + cr * g_cr, r + cb * b_cb + cr * b_cr
    else:
        g = value(plane1 + (y * SY1 + x * SX1), inside, scale1, offset1)
        b = value(plane2 + (y * SY2 + x * SX2), inside, scale2, offset2)
    target, channel = rgb + n * SN + (y * SY + x * SX), tl.cast(SC, tl.int64)
    tl.store(target, clipped(r).to(rgb.dtype.element_ty), mask=inside)
    tl.store(target + channel, clipped(g).to(rgb.dtype.element_ty), mask=inside)
    tl.store(target + 2 * channel, clipped(b).to(rgb.dtype.element_ty), mask=inside)


@triton.jit
def weighted(red, green, blue, weights):
    """A channel times each of the three numbers at ``weights``, summed."""
    r, g, b = three(weights)
    return red * r + green * g + blue * b


@triton.jit
def shrunk(row, channel, x, px, W, SX, table, weights, KX: tl.constexpr, X0: tl.constexpr):
    """Both chromas (TC, 2) of a row, summed along it with ``weights`` (KX, FX)."""
    FX: tl.constexpr = px.shape[1]
    r = tl.zeros(x.shape, tl.float32)
    g, b = r, r
    for k in tl.static_range(KX):
        at = row + mirrored(x + (X0 + k) * FX, W) * SX
        weight = tl.load(weights + k * FX + px)
        r += clipped(tl.load(at)) * weight
        g += clipped(tl.load(at + channel)) * weight
        b += clipped(tl.load(at + 2 * channel)) * weight
    r, g, b = tl.sum(r, 1), tl.sum(g, 1), tl.sum(b, 1)
    return tl.join(
        weighted(r, g, b, table + MATRIX + 3),
        weighted(r, g, b, table + MATRIX + 6),
    )


@triton.jit
def added(s0, s1, s2, s3, s4, v, weights, KY: tl.constexpr, FY: tl.constexpr):
    """``v`` added to the sum of each row of chroma that it is part of, the uppermost first."""
    s0 += v * tl.load(weights + (KY - 1) * FY)
    if KY > 1:
        s1 += v * tl.load(weights + (KY - 2) * FY)
    if KY > 2:
        s2 += v * tl.load(weights + (KY - 3) * FY)
    if KY > 3:
        s3 += v * tl.load(weights + (KY - 4) * FY)
    if KY > 4:
        s4 += v * tl.load(weights + (KY - 5) * FY)
    return s0, s1, s2, s3, s4


@kernel
def encode(
    plane0, plane1, plane2, rgb, table, H, W,
    SN0, SY0, SX0, SN1, SY1, SX1, SN2, SY2, SX2, SN, SC, SY, SX,
    MIXED: tl.constexpr, PLANES: tl.constexpr, FY: tl.constexpr, KY: tl.constexpr, Y0: tl.constexpr,
    FX: tl.constexpr, KX: tl.constexpr, X0: tl.constexpr, TC: tl.constexpr, TY: tl.constexpr,
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
    scale0, scale1, scale2 = three(table + SCALE)
    offset0, offset1, offset2 = three(table + OFFSET)
    limit = tl.load(table + LIMIT)
    LAST: tl.constexpr = Y0 + KY - 1
    zeros = tl.zeros([TC, 2], tl.float32)
    s0, s1, s2, s3, s4 = zeros, zeros, zeros, zeros, zeros
    for i in range(top + Y0, bottom + LAST):
        for p in tl.static_range(FY):
            y = i * FY + p
            yy = tl.cast(y, tl.int64)
            row = rgb + n * SN + mirrored(y, H).to(tl.int64) * SY
            own = (x < W) & row_inside(y - top * FY, tl.minimum(bottom * FY, H) - top * FY)
            at = row + x * SX
            first = clipped(tl.load(at, mask=own, other=0))
            green = clipped(tl.load(at + channel, mask=own, other=0))
            blue = clipped(tl.load(at + 2 * channel, mask=own, other=0))
            if MIXED:
                first = weighted(first, green, blue, table + MATRIX)
            put(plane0 + yy * SY0 + x * SX0, first, own, scale0, offset0, limit)
            if not MIXED:
                put(plane1 + yy * SY1 + x * SX1, green, own, scale1, offset1, limit)
                put(plane2 + yy * SY2 + x * SX2, blue, own, scale2, offset2, limit)
            elif PLANES == 3:
                weights = table + WEIGHTS
                v = shrunk(row, channel, x, px, W, SX, table, weights + KY * FY, KX, X0)
                s0, s1, s2, s3, s4 = added(s0, s1, s2, s3, s4, v, weights + p, KY, FY)
        if MIXED and PLANES == 3:
            cb, cr = tl.split(s0)
            s0, s1, s2, s3, s4 = s1, s2, s3, s4, zeros
            done = (c < (W + FX - 1) // FX) & row_inside(i - LAST - top, TY)
            yy = tl.cast(i - LAST, tl.int64)
            put(plane1 + yy * SY1 + c * SX1, cb, done, scale1, offset1, limit)
            put(plane2 + yy * SY2 + c * SX2, cr, done, scale2, offset2, limit)
