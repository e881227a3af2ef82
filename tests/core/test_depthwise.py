"""Depth-wise convolutions with fast gradients, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F
from own_process import check
from torch import Tensor

from lkdn_core.training.depthwise import depthwise_cpu

both_dilations = pytest.mark.parametrize("dilation", [1, 3])


def leaves(channels: int, size: tuple[int, int], count: int = 3) -> list[Tensor]:
    """A map, weight, and bias, then a gradient of the result."""
    torch.manual_seed(0)
    shapes = (count, channels, *size), (channels, 1, 5, 5), (channels,)
    inputs = [torch.randn(s).requires_grad_() for s in shapes]
    return [*inputs, torch.randn(shapes[0])]


def plain(tensors: list[Tensor], dilation: int) -> list[Tensor]:
    """The result and the three gradients, by torch in float64."""
    x, weight, bias, grad = (t.detach().double().requires_grad_() for t in tensors)
    y = F.conv2d(x, weight, bias, 1, 2 * dilation, dilation, x.shape[1])
    return [y, *torch.autograd.grad(y, (x, weight, bias), grad)]


def agree(ours: list[Tensor], reference: list[Tensor]) -> None:
    """Within the rounding of sums of up to a few thousand products of normal numbers."""
    for a, b in zip(ours, reference, strict=True):
        largest = float(b.detach().abs().max())
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6 * max(1, largest))


@both_dilations
@pytest.mark.parametrize("size", [(12, 12), (13, 8), (5, 7)])
def test_gradients_from_3x3_ones(dilation: int, size: tuple[int, int]) -> None:
    """In float64 the way that bfloat16 takes, so that only its arithmetic is tested."""
    tensors = [t.detach().double().requires_grad_() for t in leaves(6, size)]
    y = depthwise_cpu(*tensors[:3], dilation)
    agree([y, *torch.autograd.grad(y, tensors[:3], tensors[3])], plain(tensors, dilation))


def test_in_float32_it_is_torch() -> None:
    tensors = leaves(7, (9, 11))
    y = depthwise_cpu(*tensors[:3], 3)
    agree([y, *torch.autograd.grad(y, tensors[:3], tensors[3])], plain(tensors, 3))


@pytest.mark.slow
def test_kernels_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    check("depthwise_checks.py", interpreted=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernels_on_a_gpu() -> None:
    check("depthwise_checks.py", interpreted=False)
