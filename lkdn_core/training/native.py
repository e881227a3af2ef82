"""Training in float32 on a CPU: LKDN's layers and their gradients by the native library.

Torch takes most of such a step for what is no matrix product: depth-wise layers, GELU, copies for
concatenations and for 42 channels, which are no whole number of vectors. Here maps are
(N, H, W, P), with P channels the next multiple of 8 and zeros in those that the network has not;
halves of a block write straight to where the next layer reads; what GELU's gradient needs is made
beside GELU. Matrix products are torch's. ``network.run_network`` is the reference.
"""

import ctypes as c
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.fuse import EPS, block_names
from lkdn_core.native_library import native_library

__all__ = ["Kernels", "run_native", "training_kernels"]

#: Channels are rounded up to a multiple of this.
_VECTOR: Final = 8


class Kernels:
    """The library's layers, on float32 maps (N, H, W, C) or on some channels of one.

    ``instructions`` is one of the library's sets, the best if ``None``. Results do not depend on
    ``torch.get_num_threads()``.
    """

    def __init__(self, library: c.CDLL, instructions: str | None = None) -> None:
        self._library = library
        self._instructions = instructions.encode() if instructions else None

    def depthwise(  # noqa: PLR0917
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        dilation: int,
        y: Tensor,
        slope: Tensor | None = None,
    ) -> None:
        """``y`` = a "same" depth-wise layer; with ``slope``, its GELU, whose slopes go there.

        ``weight`` (C, 1, K, K): K 3, or 5 with ``dilation`` 1 or 3. ``slope`` lies as ``y``.
        """
        kind = weight.shape[2], dilation
        weight, bias = weight.contiguous(), bias.contiguous()
        self._call("depthwise", *kind, *x.shape, *_map(x), weight, bias, y, slope, y.stride(2))

    def depthwise_gradient(  # noqa: PLR0917
        self,
        x: Tensor,
        weight: Tensor,
        dilation: int,
        grad: Tensor,
        grad_x: Tensor,
        slope: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Fills ``grad_x`` and returns the gradients of the weight and the bias.

        ``slope``, which lies as ``grad``, is multiplied with it.
        """
        kind = weight.shape[2], dilation
        layer = weight.new_empty(len(weight), weight[0].numel() + 1)  # taps, then the bias
        maps = *_map(x), weight.contiguous(), grad, slope, grad.stride(2), *_map(grad_x)
        self._call("depthwise_gradient", *kind, *x.shape, *maps, layer)
        return layer[:, :-1].reshape(weight.shape), layer[:, -1]

    def gelu(self, x: Tensor, bias: Tensor, y: Tensor, slope: Tensor) -> None:
        """``y`` = GELU of ``x + bias``, and its slopes. Maps are whole; ``y`` may be ``x``."""
        self._call("gelu", _pixels(x), x.shape[3], x, bias, y, slope)

    def norm(  # noqa: PLR0917
        self, x: Tensor, gain: Tensor, shift: Tensor, base: Tensor, counted: int, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        """``base`` plus the pixel norm of the first ``counted`` channels; and what goes back."""
        y, stats = torch.empty_like(x), x.new_empty(_pixels(x), 2)
        sizes = _pixels(x), x.shape[3], counted, c.c_float(epsilon)
        self._call("norm", *sizes, x, gain, shift, base, y, stats)
        return y, stats

    def norm_gradient(
        self, x: Tensor, gain: Tensor, stats: Tensor, grad: Tensor, counted: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of ``x``, ``gain`` and ``shift``; beyond ``counted`` that of ``x`` is none."""
        grad_x, sums = torch.empty_like(x), x.new_empty(2, x.shape[3])
        self._call(
            "norm_gradient", _pixels(x), x.shape[3], counted, x, gain, stats, grad, grad_x, sums
        )
        return grad_x, sums[0], sums[1]

    def _call(self, name: str, *arguments: Any) -> None:
        passed = [c.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments]
        run = getattr(self._library, f"lkdn_{name}")
        if run(self._instructions, torch.get_num_threads(), *passed):
            raise RuntimeError(f"not enough memory for {name}, or no kernel for it")


@cache
def training_kernels(instructions: str | None = None) -> Kernels | None:
    """The kernels; ``None`` where the library was not compiled."""
    library = native_library()
    return None if library is None else Kernels(library, instructions)


def run_native(kernels: Kernels, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """`run_network` with gradients, in float32 on the CPU.

    ``x`` (N, 3, H, W); returns (N, 3, sH, sW), not clamped.
    """
    wide = F.conv2d(x, _widen(weights["head.weight"]), _widen(weights["head.bias"]), padding=1)
    first = wide.permute(0, 2, 3, 1).contiguous()
    y, outs = first, []
    for block in block_names(weights):
        u = _Distill.apply(kernels, y, *_distillation(weights, block))
        epsilon = float(weights.get(f"{block}.eps", EPS))
        y = _Attend.apply(kernels, epsilon, u, y, *_attention(weights, block))
        outs.append(y)
    y = _Gelu.apply(kernels, _mix(outs, weights["c1.weight"]), weights["c1.bias"])
    y = _dense(y, _matrix(weights["c2.pw.weight"], y.shape[3], y.shape[3]))
    y = _Depthwise.apply(kernels, y, weights["c2.dw.weight"], weights["c2.dw.bias"])
    y = (y + first).permute(0, 3, 1, 2)  # channels last
    last = weights["upsampler.0.weight"]
    last = F.pad(last, (0, 0, 0, 0, 0, y.shape[1] - last.shape[1]))
    y = F.conv2d(y, last, weights["upsampler.0.bias"], padding=1)
    return F.pixel_shuffle(y, round((y.shape[1] / 3) ** 0.5))


def _mix(maps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """The layer over all blocks, without its bias, and without one map of all of them."""
    wide = maps[0].shape[3]
    first, *others = (_matrix(w, wide, wide) for w in weight.split(len(weight), 1))
    total = _rows(maps[0]) @ first.T
    for x, w in zip(maps[1:], others, strict=True):
        total = torch.addmm(total, _rows(x), w.T)
    return total.view_as(maps[0])


def _distillation(w: Mapping[str, Tensor], block: str) -> Iterator[Tensor]:
    """Weights of `_Distill` in its order."""
    for i in (1, 2, 3):
        for name in (f"c{i}_d.weight", f"c{i}_d.bias", f"c{i}_r.pw.weight"):
            yield w[f"{block}.{name}"]
        for name in (f"c{i}_r.dw.weight", f"c{i}_r.dw.bias"):
            yield w[f"{block}.{name}"]
    for name in ("c4.pw.weight", "c4.dw.weight", "c4.dw.bias", "c5.weight", "c5.bias"):
        yield w[f"{block}.{name}"]


def _attention(w: Mapping[str, Tensor], block: str) -> Iterator[Tensor]:
    """Weights of `_Attend` in its order."""
    for name in ("atten.pointwise", "atten.depthwise", "atten.depthwise_dilated", "c6"):
        yield w[f"{block}.{name}.weight"]
        yield w[f"{block}.{name}.bias"]
    yield w[f"{block}.pixel_norm.weight"]
    yield w[f"{block}.pixel_norm.bias"]


class _Distill(torch.autograd.Function):
    """`network.distill` on (N, H, W, P) maps."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, y: Tensor, *weights: Tensor) -> Tensor:
        *refinements, c4, c4_dw, c4_bias, c5, c5_bias = weights
        channels, half = len(c5), len(c4)
        wide, narrow = y.shape[3], _round(half)
        joined, slope = (y.new_empty(*y.shape[:3], 4 * narrow) for _ in range(2))
        bias = y.new_zeros(4, narrow)
        r, kept = y, []
        for i in range(3):
            d, d_bias, pw, dw, dw_bias = refinements[5 * i : 5 * i + 5]
            d, pw, dw = _matrix(d, narrow, wide), _matrix(pw, wide, wide), _widen(dw)
            bias[i, :half] = d_bias
            torch.mm(_rows(r), d.T, out=_rows(joined[..., _part(i, narrow)]))
            p, refined, refined_slope = _dense(r, pw), torch.empty_like(y), torch.empty_like(y)
            kernels.depthwise(p, dw, _widen(dw_bias), 1, refined, refined_slope)
            kept += [r, d, pw, dw, p, refined_slope]
            r = refined
        pw, dw = _matrix(c4, narrow, wide), _widen(c4_dw)
        p = _dense(r, pw)
        kernels.depthwise(p, dw, _widen(c4_bias), 1, joined[..., _part(3, narrow)])
        kernels.gelu(joined, bias, joined, slope)
        join = c5.new_zeros(wide, 4, narrow)
        join[:channels, :, :half] = c5[:, :, 0, 0].unflatten(1, (4, half))
        ctx.save_for_backward(*kept, r, pw, dw, p, joined, slope, join)
        ctx.how = kernels, channels, half
        return _dense(joined, join.flatten(1), _widen(c5_bias))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kernels, channels, half = ctx.how
        *kept, r, pw, dw, p, joined, slope, join = ctx.saved_tensors
        narrow, grad = len(pw), grad.contiguous()
        c5 = _product(grad, joined)[:channels].unflatten(1, (4, narrow))[:, :, :half]
        grads = [c5.reshape(channels, 4 * half, 1, 1), _rows(grad).sum(0)[:channels]]
        grad_joined = _dense(grad, join.flatten(1).T).mul_(slope)
        biases = _rows(grad_joined).sum(0)
        grad_p = torch.empty_like(p)
        layer = kernels.depthwise_gradient(p, dw, 1, grad_joined[..., _part(3, narrow)], grad_p)
        c4 = _convolution(_product(grad_p, r), half, channels)
        grads = [c4, *(g[:half] for g in layer), *grads]
        grad = _dense(grad_p, pw.T)
        for i in (2, 1, 0):
            r, d, pw, dw, p, slope = kept[6 * i : 6 * i + 6]
            grad_d, grad_p = grad_joined[..., _part(i, narrow)], torch.empty_like(p)
            layer = kernels.depthwise_gradient(p, dw, 1, grad, grad_p, slope)
            grads = [
                _convolution(_product(grad_d, r), half, channels),
                biases[_part(i, narrow)][:half],
                _convolution(_product(grad_p, r), channels, channels),
                *(g[:channels] for g in layer),
                *grads,
            ]
            grad = _dense(grad_p, pw.T)
            _rows(grad).addmm_(_rows(grad_d), d)
        return None, grad, *grads


class _Attend(torch.autograd.Function):
    """``y`` plus `network.attend` of ``u``, on (N, H, W, P) maps."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, epsilon: float, u: Tensor, y: Tensor, *weights: Tensor
    ) -> Tensor:
        pointwise, bias, small, small_bias, large, large_bias, c6, c6_bias, gain, shift = weights
        wide = u.shape[3]
        first, last = _matrix(pointwise, wide, wide), _matrix(c6, wide, wide)
        small, large, gain = _widen(small), _widen(large), _widen(gain)
        a = _dense(u, first, _widen(bias))
        b, v = torch.empty_like(a), torch.empty_like(a)
        kernels.depthwise(a, small, _widen(small_bias), 1, b)
        kernels.depthwise(b, large, _widen(large_bias), 3, v)
        product = u * v
        z = _dense(product, last, _widen(c6_bias))
        out, stats = kernels.norm(z, gain, _widen(shift), y, len(c6), epsilon)
        ctx.save_for_backward(u, a, b, v, product, z, stats, first, last, small, large, gain)
        ctx.how = kernels, len(c6)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kernels, channels = ctx.how
        u, a, b, v, product, z, stats, first, last, small, large, gain = ctx.saved_tensors
        grad = grad.contiguous()
        grad_z, grad_gain, grad_shift = kernels.norm_gradient(z, gain, stats, grad, channels)
        c6, c6_bias = _product(grad_z, product), _rows(grad_z).sum(0)
        grad_product = _dense(grad_z, last.T)
        grad_u, grad_b = grad_product * v, grad_z  # whose memory is free again
        large_layer = kernels.depthwise_gradient(b, large, 3, grad_product, grad_b, u)
        grad_a = grad_product
        small_layer = kernels.depthwise_gradient(a, small, 1, grad_b, grad_a)
        pointwise, bias = _product(grad_a, u), _rows(grad_a).sum(0)
        _rows(grad_u).addmm_(_rows(grad_a), first)
        return (
            *(None, None, grad_u, grad),
            *(_convolution(pointwise, channels, channels), bias[:channels]),
            *(g[:channels] for g in small_layer),
            *(g[:channels] for g in large_layer),
            *(_convolution(c6, channels, channels), c6_bias[:channels]),
            *(grad_gain[:channels], grad_shift[:channels]),
        )


class _Gelu(torch.autograd.Function):
    """GELU of a map and a bias."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, x: Tensor, bias: Tensor) -> Tensor:
        y, slope = torch.empty_like(x), torch.empty_like(x)
        kernels.gelu(x, _widen(bias), y, slope)
        ctx.save_for_backward(slope)
        ctx.channels = len(bias)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        grad = grad * ctx.saved_tensors[0]
        return None, grad, _rows(grad).sum(0)[: ctx.channels]


class _Depthwise(torch.autograd.Function):
    """A depth-wise 3x3."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.how, wide, y = (kernels, len(weight)), _widen(weight), torch.empty_like(x)
        ctx.save_for_backward(x, wide)
        kernels.depthwise(x, wide, _widen(bias), 1, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        kernels, channels = ctx.how
        x, weight = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        layer = kernels.depthwise_gradient(x, weight, 1, grad.contiguous(), grad_x)
        return None, grad_x, layer[0][:channels], layer[1][:channels]


def _round(channels: int) -> int:
    return -(-channels // _VECTOR) * _VECTOR


def _widen(weight: Tensor) -> Tensor:
    """A bias, or a weight for each channel: zeros for those up to a multiple of a vector."""
    more = _round(len(weight)) - len(weight)
    return F.pad(weight, (0, 0) * (weight.ndim - 1) + (0, more))


def _matrix(weight: Tensor, outputs: int, inputs: int) -> Tensor:
    """(O, I, 1, 1) to (``outputs``, ``inputs``)."""
    return F.pad(weight[:, :, 0, 0], (0, inputs - weight.shape[1], 0, outputs - len(weight)))


def _convolution(matrix: Tensor, outputs: int, inputs: int) -> Tensor:
    """`_matrix`, back."""
    return matrix[:outputs, :inputs, None, None]


def _part(i: int, narrow: int) -> slice:
    """The i-th of the four maps that a block joins."""
    return slice(i * narrow, (i + 1) * narrow)


def _rows(x: Tensor) -> Tensor:
    """(N, H, W, P) to (NHW, P)."""
    return x.flatten(0, 2)


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``weight`` (O, I) for each pixel: (N, H, W, I) to (N, H, W, O)."""
    rows = _rows(x) @ weight.T if bias is None else torch.addmm(bias, _rows(x), weight.T)
    return rows.view(*x.shape[:3], -1)


def _product(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient (O, I) of `_dense`'s weight."""
    return _rows(grad).T @ _rows(x)


def _pixels(x: Tensor) -> int:
    return x[..., 0].numel()


def _map(x: Tensor) -> tuple[Tensor, int]:
    """A map, and its floats from pixel to pixel."""
    return x, x.stride(2)
