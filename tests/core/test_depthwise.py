"""Depth-wise convolutions with fast gradients, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F
from own_process import check
from torch import Tensor

from lkdn_core.native_library import instruction_sets
from lkdn_core.training import depthwise
from lkdn_core.training.depthwise import depthwise_cpu, native_depthwise

SETS = instruction_sets() or ["absent"]
SIZES = [(1, 1), (1, 7), (5, 3), (13, 8), (37, 29)]

compiled = pytest.mark.skipif(SETS == ["absent"], reason="the native library was not compiled")
every_set = pytest.mark.parametrize("instructions", SETS)
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


def native(tensors: list[Tensor], dilation: int, instructions: str) -> list[Tensor]:
    x, weight, bias, grad = tensors
    y = native_depthwise(x, weight, bias, dilation, instructions=instructions)
    return [y, *torch.autograd.grad(y, (x, weight, bias), grad)]


def agree(ours: list[Tensor], reference: list[Tensor]) -> None:
    """Within the rounding of sums of up to a few thousand products of normal numbers."""
    for a, b in zip(ours, reference, strict=True):
        largest = float(b.detach().abs().max())
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6 * max(1, largest))


@compiled
@every_set
@both_dilations
@pytest.mark.parametrize("channels", [1, 7, 21, 42, 56])
def test_native_is_the_convolution(channels: int, dilation: int, instructions: str) -> None:
    for size in SIZES:
        tensors = leaves(channels, size)
        agree(native(tensors, dilation, instructions), plain(tensors, dilation))


@compiled
@every_set
def test_any_layout_of_the_input(instructions: str) -> None:
    tensors = leaves(7, (9, 11))
    expected = plain(tensors, 3)
    for layout in (torch.contiguous_format, torch.channels_last):
        x, grad = (tensors[i].detach().contiguous(memory_format=layout) for i in (0, 3))
        agree(native([x.requires_grad_(), *tensors[1:3], grad], 3, instructions), expected)
    apart = F.pad(tensors[0].detach(), (2, 1, 3, 0))[:, :, 3:, 2:-1].requires_grad_()
    weight = tensors[1].detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    # A sum's gradient is one number with strides of zero.
    y = native_depthwise(apart, weight, tensors[2], 3, instructions=instructions)
    ones = plain([*tensors[:3], torch.ones(y.shape)], 3)
    agree([y, *torch.autograd.grad(y.sum(), (apart, weight, tensors[2]))], ones)


@compiled
@every_set
@both_dilations
def test_threads_do_not_change_a_bit(dilation: int, instructions: str) -> None:
    tensors, before, results = leaves(42, (33, 20)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(native(tensors, dilation, instructions))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


@compiled
@every_set
@pytest.mark.parametrize("channels", [1, 7, 42])
def test_what_lies_around_a_map_is_not_used(channels: int, instructions: str) -> None:
    tensors = leaves(channels, (5, 7), count=1)
    x = tensors[0].detach().permute(0, 2, 3, 1).flatten()
    memory = torch.full((x.numel() + 64,), torch.nan)
    memory[32:-32] = x
    inside = memory[32:-32].view(1, 5, 7, channels).permute(0, 3, 1, 2).requires_grad_()
    agree(native([inside, *tensors[1:]], 3, instructions), plain(tensors, 3))


@both_dilations
@pytest.mark.parametrize("size", [(12, 12), (13, 8), (5, 7)])
def test_gradients_from_3x3_ones(dilation: int, size: tuple[int, int]) -> None:
    """In float64 the way that bfloat16 takes, so that only its arithmetic is tested."""
    tensors = [t.detach().double().requires_grad_() for t in leaves(6, size)]
    y = depthwise_cpu(*tensors[:3], dilation)
    agree([y, *torch.autograd.grad(y, tensors[:3], tensors[3])], plain(tensors, dilation))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "_library", lambda: None)
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
