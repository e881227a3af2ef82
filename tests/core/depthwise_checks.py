"""Depth-wise convolutions of training on CUDA, against torch; test_depthwise runs them.

On a GPU or in Triton's interpreter, as in kernel_checks.
"""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.training import depthwise_cuda as module
from lkdn_core.training.depthwise_cuda import depthwise_cuda

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"


def with_gradients(tensors: list[Tensor], dilation: int, *, ours: bool) -> list[Tensor]:
    """The result and the gradients of map, weight and bias; torch's are of float64."""
    x, weight, bias, grad = tensors
    if ours:
        y = depthwise_cuda(x, weight, bias, dilation)
    else:
        x, weight, bias, grad = (t.detach().double().requires_grad_() for t in tensors)
        y = F.conv2d(x, weight, bias, 1, weight.shape[2] // 2 * dilation, dilation, x.shape[1])
    return [y, *torch.autograd.grad(y, (x, weight, bias), grad)]


def leaves(channels: int, size: int, shape: tuple[int, int, int], dtype: torch.dtype) -> list:
    torch.manual_seed(0)
    count, height, width = shape
    x = torch.randn(count, channels, height, width, device=DEVICE).to(dtype)
    weight = torch.randn(channels, 1, size, size, device=DEVICE)
    bias = torch.randn(channels, device=DEVICE)
    grad = torch.randn(x.shape, device=DEVICE).to(dtype)
    return [x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), grad]


@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (5, 1), (5, 3)])
@pytest.mark.parametrize("channels", [5, 42] if not INTERPRETED else [5])
def test_result_and_gradients(
    monkeypatch: pytest.MonkeyPatch, channels: int, size: int, dilation: int
) -> None:
    """Pictures smaller than a kernel, shares that end inside one, a last one that is not full."""
    monkeypatch.setattr(module, "_SHARE", 40)
    for shape in ((1, 1, 1), (2, 5, 7)):
        tensors = leaves(channels, size, shape, torch.float32)
        ours, theirs = (with_gradients(tensors, dilation, ours=o) for o in (True, False))
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes minutes")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch(dtype: torch.dtype) -> None:
    """Sums of 73728 products: the gradients of the weight stay float32 for maps of either type."""
    tensors = leaves(42, 5, (32, 48, 48), dtype)
    ours, theirs = (with_gradients(tensors, 3, ours=o) for o in (True, False))
    for a, b in zip(ours, theirs, strict=True):
        error = (a.double() - b).square().mean() / b.square().mean()
        assert error.sqrt() < (1e-5 if a.dtype == torch.float32 else 5e-3)
