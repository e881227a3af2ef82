"""A depth-wise convolution for training on CUDA: itself, and the gradient of its weight.

Maps are (N, H, W, C) without gaps, read as one row of elements; a tap is a shift along it, of which
what leaves the picture counts as 0. The gradient of a map is the convolution with turned taps.
"""

import triton
import triton.language as tl

__all__ = ["filter_map", "gather_taps"]


@triton.jit
def shifted(p, k, H, W, K: tl.constexpr, STEP: tl.constexpr):
    """(pixel that tap ``k`` of pixel ``p`` reads, whether it is in the same picture)."""
    down, along = (k // K - K // 2) * STEP, (k % K - K // 2) * STEP
    y, x = p // W % H + down, p % W + along
    return p + down * W + along, (y >= 0) & (y < H) & (x >= 0) & (x < W)


@triton.jit
def filter_map(
    source, taps, bias, target, PIXELS, H, W,
    C: tl.constexpr, K: tl.constexpr, STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``target`` = ``source`` filtered by ``taps`` (K*K, C), plus ``bias`` (C,)."""
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    p, c = e // C, e % C
    inside = p < PIXELS
    total = tl.load(bias + c)
    for k in range(K * K):
        q, ok = shifted(p, k, H, W, K, STEP)
        v = tl.load(source + (q * C + c), mask=inside & ok, other=0.0)
        total += v.to(tl.float32) * tl.load(taps + (k * C + c))
    tl.store(target + e, total.to(target.dtype.element_ty), mask=inside)


@triton.jit
def gather_taps(
    source, gradient, partial, PIXELS, SHARE, H, W,
    C: tl.constexpr, K: tl.constexpr, STEP: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``partial`` (shares, K*K, C): the gradient of one tap over ``SHARE`` pixels."""
    k, share = tl.program_id(0), tl.program_id(1)
    c = tl.arange(0, BC)
    known = (c < C)[None, :]
    total = tl.zeros([BLOCK, BC], tl.float32)
    for start in range(0, SHARE, BLOCK):
        i = start + tl.arange(0, BLOCK)
        p = share * SHARE + i
        q, ok = shifted(p, k, H, W, K, STEP)
        mask = (ok & (i < SHARE) & (p < PIXELS))[:, None] & known
        v = tl.load(source + (q[:, None] * C + c[None, :]), mask=mask, other=0.0)
        g = tl.load(gradient + (p[:, None] * C + c[None, :]), mask=mask, other=0.0)
        total += v.to(tl.float32) * g.to(tl.float32)
    tl.store(partial + ((share * K * K + k) * C + c), tl.sum(total, 0), mask=c < C)
