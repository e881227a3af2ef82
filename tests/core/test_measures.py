"""PSNR, SSIM and luma of pictures made by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lkdn_core.errors import ArgumentError
from lkdn_core.evaluate import luma, psnr, ssim


def test_luma_of_known_colours() -> None:
    colours = torch.tensor([[0, 255, 255], [0, 255, 0], [0, 255, 0]], dtype=torch.uint8)
    # Black, white and red in BT.601 limited range.
    expected = torch.tensor([[16, 235, 16 + 65.481]], dtype=torch.float64)
    torch.testing.assert_close(luma(colours[:, None]), expected)


def test_psnr_of_a_known_error() -> None:
    a = torch.full((3, 20, 20), 100, dtype=torch.uint8)
    b = a.clone()
    b[:, :2] += 100  # outside what is compared
    b[:, 2:-2, 2:-2] += 10
    expected = 20 * np.log10(255 / (10 * 219 / 255))
    assert psnr(a, b, crop_border=2) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_pictures_of_two_shapes_are_refused(measure: Callable[..., float]) -> None:
    a = torch.zeros(3, 24, 24, dtype=torch.uint8)
    for b in (a[:, :1], a[:1], a[:, :, 1:]):
        with pytest.raises(ArgumentError, match=r"b: a picture .3, 24, 24. like a is accepted"):
            measure(a, b, crop_border=0)
    with pytest.raises(ArgumentError, match="crop_border: an integer from 0 is accepted, got -1"):
        measure(a, a, crop_border=-1)


def test_equal_pictures_are_equal_in_any_layout() -> None:
    """A decoded picture is a view with channels last; sums in another order end in other bits."""
    last = torch.randint(0, 256, (37, 41, 3), dtype=torch.uint8).permute(2, 0, 1)
    assert psnr(last, last.contiguous(), crop_border=2) == torch.inf
    assert ssim(last, last.contiguous(), crop_border=2) == 1


def test_ssim_is_one_for_equal_and_known_for_a_constant_shift() -> None:
    a = torch.full((3, 24, 24), 100, dtype=torch.uint8)
    assert ssim(a, a, crop_border=4) == pytest.approx(1)
    b = a + 50
    x, y = float(luma(a)[0, 0]), float(luma(b)[0, 0])
    c1 = (0.01 * 255) ** 2
    expected = (2 * x * y + c1) / (x * x + y * y + c1)  # no variance: the luminance term alone
    assert ssim(a, b, crop_border=4) == pytest.approx(expected, abs=1e-9)


def test_pictures_too_small_to_measure_are_errors() -> None:
    a = torch.zeros(3, 20, 30, dtype=torch.uint8)
    assert ssim(a[:, :19, :19], a[:, :19, :19], crop_border=4) == pytest.approx(1)
    with pytest.raises(ArgumentError, match="with 4, pictures from 19x19 are accepted, got 30x18"):
        ssim(a[:, :18], a[:, :18], crop_border=4)
    assert psnr(a[:, :9, :9], a[:, :9, :9], crop_border=4) == float("inf")
    with pytest.raises(ArgumentError, match="with 4, pictures from 9x9 are accepted, got 8x20"):
        psnr(a[:, :, :8], a[:, :, :8], crop_border=4)
