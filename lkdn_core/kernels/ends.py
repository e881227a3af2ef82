"""The kernels before the first block and after the last one."""

import triton.language as tl

from lkdn_core.kernels.block import split_row
from lkdn_core.kernels.parts import (
    depthwise,
    gelu,
    kernel,
    load_row,
    matrix,
    product,
    row_inside,
    row_start,
    store_row,
    tile,
    vector,
)


@kernel()
def head(
    rgb, target, t, d, weight, bias, wide, narrow, narrow_bias, H, W, SN, SC, SY, SX,
    C: tl.constexpr, D: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K0: target = dense 3x3 (rgb), as one product; and the first block's first t and d.

    ``rgb`` (N, 3, H, W) with strides ``SN, SC, SY, SX``; ``weight`` (27, C), rows in the order
    channel, y, x.
    """
    n, y, x, inside = tile(W, TX, 1)
    c, e, k = tl.arange(0, BC), tl.arange(0, BD), tl.arange(0, 32)
    w, f = matrix(weight, k, c, 27, C), vector(bias, c, C)
    w1, w2, s2 = matrix(wide, c, c, C, C), matrix(narrow, c, e, C, D), vector(narrow_bias, e, D)
    dy, xx = (k % 9) // 3 - 1, x[:, None] + (k % 3 - 1)[None, :]
    for i in tl.static_range(4):
        yy = y + i + dy[None, :]
        known = (k < 27)[None, :] & (yy >= 0) & (yy < H) & (xx >= 0) & (xx < W)
        place = (k // 9)[None, :] * SC + dy[None, :] * SY + xx * SX
        # The row's own start may lie far into a large batch.
        v = tl.load(rgb + n.to(tl.int64) * SN + (y + i) * SY + place, mask=known, other=0.0)
        z = product(v, w, PREC) + f
        start, ok = row_start(n, y + i, H, W), inside & row_inside(y + i, H)
        store_row(target, z, start, ok, x, c, C)
        split_row(z, t, d, w1, w2, s2, start, ok, x, c, e, C, D, 0, GELU, PREC)


@kernel()
def gather(
    trunk, t, weight, bias, wide, H, W, PIXELS,
    BLOCKS: tl.constexpr, C: tl.constexpr, BC: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """T1: t = c2.pw(gelu(c1(...))), c1 summed over the blocks' maps, ``PIXELS`` pixels apart."""
    n, y, x, inside = tile(W, TX, 1)
    c = tl.arange(0, BC)
    w = matrix(wide, c, c, C, C)
    for i in range(4):
        start, ok = row_start(n, y + i, H, W), inside & row_inside(y + i, H)
        z = tl.zeros([TX, BC], tl.float32) + vector(bias, c, C)
        for k in range(BLOCKS):
            v = matrix(weight + k * C * C, c, c, C, C)
            m = load_row(trunk + k * C * PIXELS.to(tl.int64), start, ok, x, c, C)
            z = tl.dot(m.to(v.dtype), v, z, input_precision=PREC)
        store_row(t, product(gelu(z, GELU), w, PREC), start, ok, x, c, C)


@kernel()
def residual(
    source, first, target, taps, bias, H, W,
    C: tl.constexpr, BC: tl.constexpr, TX: tl.constexpr,
):  # fmt: skip
    """T2: target = dw3(source) + first."""
    n, y, x, inside = tile(W, TX, 1)
    c = tl.arange(0, BC)
    rows = depthwise(source, taps, bias, n, y, x, c, H, W, C, 3, 1)
    for i in tl.static_range(4):
        start, ok = row_start(n, y + i, H, W), inside & row_inside(y + i, H)
        z = rows[i] + load_row(first, start, ok, x, c, C).to(tl.float32)
        store_row(target, z, start, ok, x, c, C)


@kernel()
def upsample(
    source, target, weight, bias, H, W, SN, SC, SY,
    S: tl.constexpr, BO: tl.constexpr, C: tl.constexpr, BC: tl.constexpr,
    TX: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """T3: dense 3x3 to 3 S^2 channels, stored as pixels of ``target`` (N, 3, S H, S W).

    ``target`` has strides ``SN, SC, SY, 1``; ``weight`` (9, C, 3 S^2), the first axis y, x.
    """
    n, y, x, inside = tile(W, TX, 1)
    c, o = tl.arange(0, BC), tl.arange(0, BO)
    OUT: tl.constexpr = 3 * S * S
    corner = (o // (S * S)).to(tl.int64) * SC + (o % (S * S)) // S * SY + o % S
    for i in range(4):
        z = tl.zeros([TX, BO], tl.float32) + vector(bias, o, OUT)
        for k in range(9):
            yy, xx = y + i + k // 3 - 1, x + k % 3 - 1
            ok = (xx >= 0) & (xx < W) & row_inside(yy, H)
            m = load_row(source, row_start(n, yy, H, W), ok, xx, c, C)
            w = matrix(weight + k * C * OUT, c, o, C, OUT)
            z = tl.dot(m.to(w.dtype), w, z, input_precision=PREC)
        mask = (inside & row_inside(y + i, H))[:, None] & (o < OUT)[None, :]
        pixel = target + n.to(tl.int64) * SN + (y + i).to(tl.int64) * S * SY
        values = z.to(target.dtype.element_ty)
        tl.store(pixel + corner[None, :] + x[:, None] * S, values, mask=mask)
