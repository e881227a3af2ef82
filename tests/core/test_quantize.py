"""Rounding and clipping, code by code."""

import pytest
import torch

from lkdn_core.errors import FormatError
from lkdn_core.quantize import quantize


@pytest.mark.parametrize("bits", range(8, 17))
def test_every_code_survives_and_the_rest_is_clipped(bits: int) -> None:
    top = 2**bits - 1
    codes = torch.arange(top + 1)
    quantized = quantize(codes.float(), bits=bits)
    assert quantized.dtype == (torch.uint8 if bits == 8 else torch.uint16)
    assert torch.equal(quantized.long(), codes)
    outside = torch.tensor([-torch.inf, -0.6, top + 0.6, 1e9, torch.inf])
    assert quantize(outside, bits=bits).tolist() == [0, 0, top, top, top]


def test_halves_round_to_even() -> None:
    x = torch.tensor([0.49, 0.5, 0.51, 1.49, 1.5, 2.5, 254.5, 255.5])
    assert quantize(x, bits=8).tolist() == [0, 0, 1, 1, 2, 2, 254, 255]
    assert quantize(x, bits=10).tolist() == [0, 0, 1, 1, 2, 2, 254, 256]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_any_float_type_is_taken_and_left_alone(dtype: torch.dtype) -> None:
    x = torch.tensor([[-1.0, 60000.0], [1.5, 300.0]], dtype=dtype)
    before = x.clone()
    assert quantize(x, bits=16).tolist() == [[0, 60000], [2, 300]]
    assert quantize(x, bits=8).tolist() == [[0, 255], [2, 255]]
    assert torch.equal(x, before)


def test_float32_is_left_alone() -> None:
    x = torch.tensor([1.5, 300.0])
    quantize(x, bits=8)
    assert x.tolist() == [1.5, 300.0]


@pytest.mark.parametrize("bits", [1, 7, 17, 32])
def test_other_depths_are_refused(bits: int) -> None:
    with pytest.raises(FormatError, match=f"bits: 8 to 16 is accepted, got {bits}"):
        quantize(torch.zeros(1), bits=bits)
