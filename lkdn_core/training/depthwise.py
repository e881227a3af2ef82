"""Faster gradients of depth-wise convolutions: the attention's 5x5 on the CPU, all on CUDA.

``depthwise_cuda.py`` has CUDA's, ``native.py`` the CPU's in float32. The rest is about bfloat16.

torch has no fast CPU kernel for the weight gradient of a depth-wise 5x5, nor for anything dilated.
In bfloat16 the input gradient is taken as a forward convolution with the flipped kernel, and the 25
taps of the weight gradient as four overlapping 3x3 ones, which torch is fast at. ``F.conv2d`` is
the reference, in float32: in bfloat16 torch 2.15's own weight gradient of a dilated depth-wise
convolution is wrong on the CPU (relative error above 1, now and then NaN), which is why plain
bfloat16 training diverges there.
"""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.network import DepthwiseConv, depthwise_conv

__all__ = ["depthwise_cpu", "fast_depthwise"]

log = logging.getLogger(__name__)


def fast_depthwise(device: torch.device) -> DepthwiseConv | None:
    """Depth-wise convolutions with fast gradients on ``device``; ``None`` where torch's serve."""
    if device.type == "cpu":
        return depthwise_cpu
    try:
        from lkdn_core.training.depthwise_cuda import depthwise_cuda

        x, weight = torch.rand(1, 2, 3, 3, device=device), torch.rand(2, 1, 3, 3, device=device)
        y = depthwise_cuda(x.requires_grad_(), weight.requires_grad_(), weight[:, 0, 0, 0], 1)
        torch.autograd.backward(y.sum())
    except Exception as error:  # no Triton, no C compiler, an old GPU: torch does without
        log.info("training on %s without Triton: %s", device, error)
        return None
    return depthwise_cuda


def depthwise_cpu(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Depth-wise KxK with "same" zero padding, on the CPU; what ``F.conv2d`` gives, 5x5 faster.

    ``x`` (N, C, H, W), ``weight`` (C, 1, K, K), ``bias`` (C,); returns (N, C, H, W).
    """
    if weight.shape[2] != 5 or x.dtype == torch.float32:  # torch's own gradients are as fast
        return depthwise_conv(x, weight, bias, dilation)
    # Autocast does not reach into a custom function: the input's dtype decides.
    y: Tensor = _Depthwise5.apply(x, weight.to(x.dtype), bias.to(x.dtype), dilation)
    return y


class _Depthwise5(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return F.conv2d(x, weight, bias, 1, 2 * dilation, dilation, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        dilation, channels = ctx.dilation, x.shape[1]
        grad = grad.contiguous(memory_format=torch.channels_last)
        flipped = weight.flip(2, 3)
        grad_x = F.conv2d(grad, flipped, None, 1, 2 * dilation, dilation, channels)
        grad_bias = grad.sum((0, 2, 3))
        return grad_x, _weight_gradient5(x, grad, dilation), grad_bias, None


def _weight_gradient5(x: Tensor, grad: Tensor, dilation: int) -> Tensor:
    """Gradient of the 25 taps, (C, 1, 5, 5), from four overlapping 3x3 gradients."""
    if dilation > 1:
        x, grad = _phases(x, dilation), _phases(grad, dilation)
    padded, framed = F.pad(x, (2, 2, 2, 2)), F.pad(grad, (1, 1, 1, 1))
    height, width = framed.shape[2:]
    out = x.new_empty(x.shape[1], 1, 5, 5)
    for top in (0, 2):
        for left in (0, 2):
            window = padded[:, :, top : top + height, left : left + width]
            # Row and column 2 are seen twice with the same value; assignment keeps one.
            out[:, :, top : top + 3, left : left + 3] = _weight_gradient3(window, framed)
    return out


def _phases(x: Tensor, step: int) -> Tensor:
    """Each of the ``step**2`` sub-lattices as a picture: a dilated convolution is dense on them."""
    height, width = x.shape[2:]
    x = F.pad(x, (0, -width % step, 0, -height % step))
    x = x.unflatten(3, (-1, step)).unflatten(2, (-1, step))  # (N, C, H/d, d, W/d, d)
    return x.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)  # (N*d*d, C, H/d, W/d)


def _weight_gradient3(x: Tensor, grad: Tensor) -> Tensor:
    channels = x.shape[1]
    _, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad.contiguous(memory_format=torch.channels_last),
        x.contiguous(memory_format=torch.channels_last),
        x.new_empty(channels, 1, 3, 3),
        None,
        [1, 1],
        [1, 1],
        [1, 1],
        False,
        [0, 0],
        channels,
        [False, True, False],
    )
    return grad_weight  # type: ignore[no-any-return]
