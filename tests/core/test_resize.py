"""Bicubic weights against hand-made numbers (exact in binary) and their own algebra."""

import pytest
import torch

from lkdn_core.errors import ArgumentError
from lkdn_core.resize import FinalSize, bicubic_weights, resize


@pytest.mark.parametrize("size", [1, 2, 7, 12])
@pytest.mark.parametrize("new_size", [1, 3, 6, 24])
@pytest.mark.parametrize("shift", [0.0, -0.25, 0.5])
def test_rows_sum_to_one(size: int, new_size: int, shift: float) -> None:
    weights = bicubic_weights(size, new_size, shift=shift)
    assert weights.shape == (new_size, size)
    torch.testing.assert_close(weights.sum(1), torch.ones(new_size, dtype=torch.float64))


def test_enlarging_two_samples_by_hand() -> None:
    # Sample 0 lies at -0.25: cubic(0.25) = 0.8671875 and cubic(1.25) = -0.0703125 from inside,
    # cubic(0.75) = 0.2265625 and cubic(1.75) = -0.0234375 from the mirrored border.
    outer, inner = [1.09375, -0.09375], [0.796875, 0.203125]
    expected = torch.tensor([outer, inner, inner[::-1], outer[::-1]], dtype=torch.float64)
    assert torch.equal(bicubic_weights(2, 4), expected)


def test_shrinking_four_samples_by_hand() -> None:
    # Antialiased: the kernel is twice as wide and half as high, eight taps, four of them mirrored.
    row = [0.546875, 0.3984375, 0.1015625, -0.046875]
    assert torch.equal(bicubic_weights(4, 2), torch.tensor([row, row[::-1]], dtype=torch.float64))


def test_a_shift_by_one_sample_picks_the_neighbour_and_mirrors_the_border() -> None:
    expected = torch.eye(5, dtype=torch.float64)[[1, 2, 3, 4, 4]]
    assert torch.equal(bicubic_weights(5, 5, shift=1), expected)


@pytest.mark.parametrize("new_size", [12, 24, 48])
@pytest.mark.parametrize("shift", [-0.25, 0.0, 0.5])
def test_a_ramp_shows_where_samples_are_taken(new_size: int, shift: float) -> None:
    ramp = torch.arange(24, dtype=torch.float64)
    where = (torch.arange(new_size, dtype=torch.float64) + 0.5) * 24 / new_size - 0.5 + shift
    inside = (where > 4) & (where < 19)
    sampled = bicubic_weights(24, new_size, shift=shift) @ ramp
    torch.testing.assert_close(sampled[inside], where[inside])


def test_resize_is_separable_and_keeps_the_dtype() -> None:
    x = torch.rand(2, 3, 6, 9)
    y = resize(x, 4, 18)
    assert y.shape == (2, 3, 4, 18)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, resize(resize(x, 4, 9), 4, 18))


@pytest.mark.parametrize(("width", "height"), [(60, 45), (41, 30), (119, 89), (150, 112)])
def test_a_final_size_is_matlabs_bicubic_but_for_the_border(width: int, height: int) -> None:
    x = torch.rand(2, 3, 90, 120, generator=torch.Generator().manual_seed(1))
    y = FinalSize(width=width, height=height).apply(x)
    assert y.shape == (2, 3, height, width)
    distance = (y - resize(x, height, width)).abs()
    border = 4
    assert distance[..., border:-border, border:-border].max() < 1e-4
    assert distance.mean() < 2e-3


@pytest.mark.parametrize("height", [5, 9, 20])
def test_a_column_keeps_what_is_above_and_below(height: int) -> None:
    """torch's own of width 1 is the first row all the way."""
    x = torch.rand(2, 3, 12, 1, generator=torch.Generator().manual_seed(1))
    y = FinalSize(width=1, height=height).apply(x)
    wide = FinalSize(width=4, height=height).apply(x.expand(-1, -1, -1, 4))
    torch.testing.assert_close(y, wide[..., 1:2], rtol=0, atol=1e-5)


def test_a_crop_is_cut_before_the_size() -> None:
    x = torch.rand(1, 3, 20, 30)
    part = FinalSize(width=12, height=8, crop=(3, 2, 24, 16)).apply(x)
    torch.testing.assert_close(
        part, FinalSize(width=12, height=8).apply(x[..., 2:18, 3:27]), rtol=0, atol=0
    )


def test_an_unchanged_size_changes_nothing() -> None:
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(FinalSize(width=7, height=5).apply(x), x)


@pytest.mark.parametrize(
    ("width", "height", "crop"), [(0, 4, None), (4, -1, None), (4, 4, (0, 0, 0, 1))]
)
def test_no_empty_sizes(width: int, height: int, crop: tuple[int, int, int, int] | None) -> None:
    with pytest.raises(ArgumentError, match="size: positive"):
        FinalSize(width=width, height=height, crop=crop)


def test_a_crop_outside_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a part of 6x5 pixels is accepted"):
        FinalSize(width=4, height=4, crop=(3, 0, 4, 4)).apply(torch.rand(1, 3, 5, 6))
