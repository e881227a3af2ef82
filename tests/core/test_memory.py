import pytest
import torch

from lkdn_core.arch import LKDNConfig
from lkdn_core.memory import (
    CPU_BUDGET,
    bytes_per_pixel,
    free_bytes,
    is_out_of_memory,
    working_budget,
)
from lkdn_core.transfer import _views

CPU = torch.device("cpu")


def test_free_memory_is_what_an_allocation_can_have() -> None:
    assert 2**20 < free_bytes(CPU) < 2**45
    assert 2**19 < working_budget(CPU) <= CPU_BUDGET


def test_cost_grows_with_the_network_and_halves_with_the_dtype() -> None:
    small, large = LKDNConfig(4, 42, 5), LKDNConfig(4)
    assert bytes_per_pixel(small, torch.float32) < bytes_per_pixel(large, torch.float32)
    ratio = bytes_per_pixel(large, torch.float32) / bytes_per_pixel(large, torch.float16)
    assert ratio == pytest.approx(2, abs=0.1)


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))  # of cudaMallocAsync
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32])
def test_planes_lie_side_by_side_in_one_block(dtype: torch.dtype) -> None:
    """What travels to a GPU in one copy comes out as the planes that went in."""
    shapes = (2, 5, 7), (2, 3, 4), (2, 3, 4)
    planes = [torch.arange(1, 1 + 2 * h * w).reshape(n, h, w).to(dtype) for n, h, w in shapes]
    block = torch.zeros(sum(p.nbytes for p in planes), dtype=torch.uint8)
    for view, plane in zip(_views(block, planes), planes, strict=True):
        view.copy_(plane)
    assert torch.equal(block, torch.cat([p.view(torch.uint8).flatten() for p in planes]))
    for view, plane in zip(_views(block.clone(), planes), planes, strict=True):
        assert view.dtype == dtype
        assert torch.equal(view, plane)
