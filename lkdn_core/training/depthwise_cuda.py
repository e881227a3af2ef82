"""Depth-wise convolutions of training on a CUDA device, by the Triton kernels of ``kernels``.

torch has slow kernels for the gradients of channels_last depth-wise convolutions, or needs the
maps in another layout, which the 1x1 convolutions and the pixel norm are slow in.
"""

from typing import Any, Final

import torch
from torch import Tensor
from triton import next_power_of_2

from lkdn_core.kernels.gradient import filter_map, gather_taps

__all__ = ["depthwise_cuda"]

#: Elements of a program that filters; pixels of a step of one that gathers, and of all its steps.
_ELEMENTS: Final = 1024
_PIXELS: Final = 32
_SHARE: Final = 1024


def depthwise_cuda(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Depth-wise KxK with "same" zero padding; what ``F.conv2d`` gives.

    ``x`` (N, C, H, W) with fewer than 2**31 samples, ``weight`` (C, 1, K, K), ``bias`` (C,);
    returns (N, C, H, W) of the type of ``x``, channels_last. Sums are float32.
    """
    y: Tensor = _Depthwise.apply(x, weight, bias, dilation)
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _filter(x, _taps(weight), bias.float(), dilation)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        channels, _, size, _ = weight.shape
        grad = grad.contiguous(memory_format=torch.channels_last)
        zeros = torch.zeros(channels, device=x.device)
        grad_x = _filter(grad, _taps(weight.flip(2, 3)), zeros, ctx.dilation)
        pixels = x.numel() // channels
        shares = -(-pixels // _SHARE)
        partial = x.new_empty(shares, size * size, channels, dtype=torch.float32)
        gather_taps[(size * size, shares)](
            x, grad, partial, pixels, _SHARE, *x.shape[2:],
            C=channels, K=size, STEP=ctx.dilation, BC=next_power_of_2(channels), BLOCK=_PIXELS,
        )  # fmt: skip
        grad_weight = partial.sum(0).T.reshape(weight.shape)
        grad_bias = grad.sum((0, 2, 3), dtype=torch.float32)
        return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None


def _filter(x: Tensor, taps: Tensor, bias: Tensor, dilation: int) -> Tensor:
    y = torch.empty_like(x)
    channels, size = taps.shape[1], round(len(taps) ** 0.5)
    filter_map[(-(-x.numel() // _ELEMENTS),)](
        x, taps, bias, y, x.numel() // channels, *x.shape[2:],
        C=channels, K=size, STEP=dilation, BLOCK=_ELEMENTS,
    )  # fmt: skip
    return y


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, K, K) as (K*K, C) float32."""
    return weight.float().flatten(1).T.contiguous()
