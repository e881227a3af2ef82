"""The six kernels of a block. Each ends where a depth-wise convolution begins.

A depth-wise convolution reads a finished map, so what lies outside the picture is 0 without more
ado and no halo is computed twice; its result stays in registers for the 1x1 that follows.
``C`` and ``D`` are padded channels of the wide and the narrow maps, ``BC`` and ``BD`` the powers of
two that hold them. ``d`` (N, H, W, 3D) holds the distilled thirds side by side.
"""

import triton
import triton.language as tl

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


@triton.jit
def split_row(
    r, t, d, wide, narrow, shift, start, ok, x, c, e,
    C: tl.constexpr, D: tl.constexpr, SLOT: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """``t = r @ wide`` and ``d[SLOT] = gelu(r @ narrow + shift)`` for one row ``r``."""
    store_row(t, product(r, wide, PREC), start, ok, x, c, C)
    distilled = gelu(product(r, narrow, PREC) + shift, GELU)
    mask = ok[:, None] & (e < D)[None, :]
    offsets = x[:, None] * (3 * D) + (SLOT * D + e)[None, :]
    tl.store(d + start * (3 * D) + offsets, distilled.to(d.dtype.element_ty), mask=mask)


@kernel()
def refine(
    source, t, d, taps, bias, wide, narrow, narrow_bias, H, W,
    C: tl.constexpr, D: tl.constexpr, SLOT: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K1, K2: r = gelu(dw3(source)); t = next pw(r); d[SLOT] = gelu(c_d(r))."""
    n, y, x, inside = tile(W, TX, 1)
    c, e = tl.arange(0, BC), tl.arange(0, BD)
    rows = depthwise(source, taps, bias, n, y, x, c, H, W, C, 3, 1)
    w, v, shift = matrix(wide, c, c, C, C), matrix(narrow, c, e, C, D), vector(narrow_bias, e, D)
    for i in tl.static_range(4):
        start, ok = row_start(n, y + i, H, W), inside & row_inside(y + i, H)
        split_row(
            gelu(rows[i], GELU), t, d, w, v, shift, start, ok, x, c, e, C, D, SLOT, GELU, PREC
        )


@kernel()
def narrow(
    source, t, taps, bias, weight, H, W,
    C: tl.constexpr, D: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K3: t = c4.pw(gelu(dw3(source))), from C to D channels."""
    n, y, x, inside = tile(W, TX, 1)
    c, e = tl.arange(0, BC), tl.arange(0, BD)
    rows = depthwise(source, taps, bias, n, y, x, c, H, W, C, 3, 1)
    w = matrix(weight, c, e, C, D)
    for i in tl.static_range(4):
        ok = inside & row_inside(y + i, H)
        r = product(gelu(rows[i], GELU), w, PREC)
        store_row(t, r, row_start(n, y + i, H, W), ok, x, e, D)


@kernel()
def join(
    source, d, u, a, taps, bias, u_weight, u_bias, a_weight, a_bias, H, W,
    C: tl.constexpr, D: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K4: [u, a] = [c5, atten.pointwise of c5] of [d, gelu(dw3(source))]; weights (4D, C)."""
    n, y, x, inside = tile(W, TX, 1)
    c, e = tl.arange(0, BC), tl.arange(0, BD)
    rows = depthwise(source, taps, bias, n, y, x, e, H, W, D, 3, 1)
    for i in tl.static_range(4):
        start, ok = row_start(n, y + i, H, W), inside & row_inside(y + i, H)
        last = gelu(rows[i], GELU)
        uu = tl.zeros([TX, BC], tl.float32) + vector(u_bias, c, C)
        aa = tl.zeros([TX, BC], tl.float32) + vector(a_bias, c, C)
        for k in tl.static_range(4):
            wu = matrix(u_weight + k * D * C, e, c, D, C)
            wa = matrix(a_weight + k * D * C, e, c, D, C)
            if k < 3:
                mask = ok[:, None] & (e < D)[None, :]
                offsets = x[:, None] * (3 * D) + (k * D + e)[None, :]
                part = tl.load(d + start * (3 * D) + offsets, mask=mask, other=0.0).to(wu.dtype)
            else:
                part = last.to(wu.dtype)
            uu = tl.dot(part, wu, uu, input_precision=PREC)
            aa = tl.dot(part, wa, aa, input_precision=PREC)
        store_row(u, uu, start, ok, x, c, C)
        store_row(a, aa, start, ok, x, c, C)


@kernel()
def local(
    source, target, taps, bias, H, W,
    C: tl.constexpr, BC: tl.constexpr, CHUNKS: tl.constexpr, TX: tl.constexpr,
):  # fmt: skip
    """K5: target = dw5(source). ``CHUNKS`` programs of ``BC`` channels share a tile."""
    n, y, _, _ = tile(W, TX, 1)
    column, chunk = tl.program_id(0) // CHUNKS, tl.program_id(0) % CHUNKS
    x = column * TX + tl.arange(0, TX)
    c = chunk * BC + tl.arange(0, BC)
    rows = depthwise(source, taps, bias, n, y, x, c, H, W, C, 5, 1)
    for i in tl.static_range(4):
        ok = (x < W) & row_inside(y + i, H)
        store_row(target, rows[i], row_start(n, y + i, H, W), ok, x, c, C)


@kernel()
def attend(
    b, u, residual, target, t, d, taps, bias, weight, weight_bias, gain, shift,
    wide, narrow, narrow_bias, H, W, EPS,
    CHANNELS: tl.constexpr, NEXT: tl.constexpr,
    C: tl.constexpr, D: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
    TX: tl.constexpr, GELU: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """K6: target = residual + norm(c6(u * dwd(b))), and the next block's first t and d from it.

    The mean is taken out in the weights of c6, and the padding is 0: what is left of the norm is
    the mean square over the ``CHANNELS`` real channels.
    """
    n, y, x, inside = tile(W, TX, 3)
    c, e = tl.arange(0, BC), tl.arange(0, BD)
    rows = depthwise(b, taps, bias, n, y, x, c, H, W, C, 5, 3)
    w = matrix(weight, c, c, C, C)
    for i in tl.static_range(4):
        start, ok = row_start(n, y + 3 * i, H, W), inside & row_inside(y + 3 * i, H)
        gated = rows[i] * load_row(u, start, ok, x, c, C).to(tl.float32)
        z = product(gated, w, PREC) + vector(weight_bias, c, C)
        scale = tl.rsqrt(tl.sum(z * z, axis=1) / CHANNELS + EPS)[:, None]
        z = z * scale * vector(gain, c, C) + vector(shift, c, C)
        z += load_row(residual, start, ok, x, c, C).to(tl.float32)
        store_row(target, z, start, ok, x, c, C)
        if NEXT:
            # Loaded again for each row: held over all four they spill where there is no WGMMA.
            w1, w2 = matrix(wide, c, c, C, C), matrix(narrow, c, e, C, D)
            s2 = vector(narrow_bias, e, D)
            split_row(z, t, d, w1, w2, s2, start, ok, x, c, e, C, D, 0, GELU, PREC)
