"""What the kernels are made of: the tile a program owns, GELU, depth-wise taps, masked products.

Maps are (N, H, W, C) with C padded to a multiple of 8; the padding holds zeros. A program owns
four rows, ``STEP`` apart, of ``TX`` columns and all channels, so that a row it loads serves up to
four outputs. Offsets of rows are 64 bits wide, those inside a row 32.
"""

from functools import partial

import triton
import triton.language as tl

#: Sizes and strides don't ask for a compilation of their own: alignment comes from ``C``.
kernel = partial(triton.jit, do_not_specialize=["H", "W", "PIXELS", "EPS", "SN", "SC", "SY", "SX"])
#: ``x/2 (1 + tanh(x (G0 + G1 s + G2 s^2)))``, s = min(x^2, 25), is GELU to 2.6e-5.
G0 = tl.constexpr(0.7975078846)
G1 = tl.constexpr(0.0370056458)
G2 = tl.constexpr(-0.00035151691)


@triton.jit
def gelu(x, FORM: tl.constexpr):
    """GELU of float32 ``x``: exactly ("erf"), or fitted, by "exp" or by the "tanh" instruction."""
    if FORM == "erf":
        return 0.5 * x * (1.0 + tl.math.erf(x * 0.7071067811865476))
    s = tl.minimum(x * x, 25.0)
    z = x * (G0 + s * (G1 + s * G2))
    if FORM == "exp":
        return x / (1.0 + tl.exp2(-2.8853900817779268 * z))
    else:
        t = tl.inline_asm_elementwise(
            "tanh.approx.f32 $0, $1;", "=f,f", [z], dtype=tl.float32, is_pure=True, pack=1
        )
        return 0.5 * x + 0.5 * x * t


@triton.jit
def tile(W, TX: tl.constexpr, STEP: tl.constexpr):
    """(picture, first of the four rows, columns, which columns are inside) of this program."""
    group = tl.program_id(1)
    y = (group // STEP) * (4 * STEP) + group % STEP
    x = tl.program_id(0) * TX + tl.arange(0, TX)
    return tl.program_id(2), y, x, x < W


@triton.jit
def row_start(n, y, H, W):
    """The number of the first pixel of row ``y``."""
    return (n * H + y).to(tl.int64) * W


@triton.jit
def row_inside(y, H):
    # A block of one, because the interpreter turns `block & scalar` into integers.
    y = y + tl.zeros([1], tl.int32)
    return (y >= 0) & (y < H)


@triton.jit
def vector(pointer, c, C: tl.constexpr):
    """Float32 (1, len(c)) of a vector of ``C`` elements, 0 past its end."""
    return tl.load(pointer + c, mask=c < C, other=0.0).to(tl.float32)[None, :]


@triton.jit
def matrix(pointer, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(len(rows), len(columns)) of a (ROWS, COLUMNS) matrix, 0 past its ends."""
    inside = (rows < ROWS)[:, None] & (columns < COLUMNS)[None, :]
    return tl.load(pointer + rows[:, None] * COLUMNS + columns[None, :], mask=inside, other=0.0)


@triton.jit
def load_row(source, start, inside, x, c, C: tl.constexpr):
    """(len(x), len(c)) of a map of ``C`` channels, whose row begins at pixel ``start``."""
    mask = inside[:, None] & (c < C)[None, :]
    return tl.load(source + start * C + (x[:, None] * C + c[None, :]), mask=mask, other=0.0)


@triton.jit
def store_row(target, values, start, inside, x, c, C: tl.constexpr):
    """The inverse of ``load_row``."""
    mask = inside[:, None] & (c < C)[None, :]
    offsets = x[:, None] * C + c[None, :]
    tl.store(target + start * C + offsets, values.to(target.dtype.element_ty), mask=mask)


@triton.jit
def product(a, b, PREC: tl.constexpr):
    """``a @ b`` in float32, ``a`` rounded to the type of the weights ``b``."""
    return tl.dot(a.to(b.dtype), b, input_precision=PREC)


@triton.jit
def depthwise(
    source, taps, bias, n, y, x, c, H, W, C: tl.constexpr, K: tl.constexpr, STEP: tl.constexpr
):
    """Four rows, ``STEP`` apart from ``y``, of a depth-wise KxK of dilation ``STEP``, plus bias.

    ``taps`` (K*K, C). What lies outside the picture counts as 0. Returns four (len(x), len(c)).
    """
    # Written out, without the helpers above: this is most of the work, and of the compilation.
    known = (c < C)[None, :]
    r0 = tl.zeros([x.shape[0], c.shape[0]], tl.float32) + vector(bias, c, C)
    r1, r2, r3 = r0, r0, r0
    for kx in range(K):  # not unrolled: compiling would take K times as long, and spill
        xx = x + (kx - K // 2) * STEP
        inside = ((xx >= 0) & (xx < W))[:, None] & known
        offsets = xx[:, None] * C + c[None, :]
        for j in tl.static_range(K + 3):
            yy = y + (j - K // 2) * STEP
            row = source + (n * H + yy).to(tl.int64) * W * C
            ok = inside & row_inside(yy, H)[:, None]
            v = tl.load(row + offsets, mask=ok, other=0.0).to(tl.float32)
            for ky in tl.static_range(K):
                if j - ky >= 0 and j - ky < 4:
                    tap = taps + (ky * K + kx) * C + c[None, :]
                    w = tl.load(tap, mask=known, other=0.0)
                    if j - ky == 0:
                        r0 += v * w
                    elif j - ky == 1:
                        r1 += v * w
                    elif j - ky == 2:
                        r2 += v * w
                    else:
                        r3 += v * w
    return r0, r1, r2, r3
