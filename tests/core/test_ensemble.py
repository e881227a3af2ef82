"""The mean over several positions of a picture."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lkdn_cli.pairs import read_pairs
from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError
from lkdn_core.evaluate import psnr
from lkdn_core.quantize import quantize
from tests.core.official import eval_folder


@pytest.fixture
def rgb() -> Tensor:
    return torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(6))


def turned(upscaler: Upscaler, rgb: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """What becomes of ``rgb`` in one position, turned back."""
    x = rgb.flip(3) if mirrored else rgb
    y = upscaler.up(torch.rot90(x, quarters, (2, 3)))
    y = torch.rot90(y, -quarters, (2, 3))
    return y.flip(3) if mirrored else y


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize(
    ("tta", "positions"),
    [
        (2, [(0, False), (2, False)]),
        (4, [(0, False), (2, False), (0, True), (2, True)]),
        (8, [(k, m) for k in range(4) for m in (False, True)]),
    ],
)
def test_it_is_the_mean_of_the_positions(
    weights_file: Path, rgb: Tensor, backend: str, tta: int, positions: list[tuple[int, bool]]
) -> None:
    plain = Upscaler(scale=2, weights=weights_file, device="cpu", backend=backend)
    each = [turned(plain, rgb, *position) for position in positions]
    assert all((y - each[0]).abs().max() > 1e-3 for y in each[1:])
    mean = Upscaler(scale=2, weights=weights_file, device="cpu", backend=backend, tta=tta)
    torch.testing.assert_close(mean.up(rgb), torch.stack(each).mean(0), rtol=0, atol=2e-6)


@pytest.mark.parametrize("tile", [7, 16])
def test_tiles_leave_no_seam(weights_file: Path, rgb: Tensor, tile: int) -> None:
    whole = Upscaler(scale=2, weights=weights_file, device="cpu", tta=8).up(rgb)
    tiled = Upscaler(scale=2, weights=weights_file, device="cpu", tta=8, tile=tile).up(rgb)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_memory_counts_the_positions(weights_file: Path) -> None:
    plain, mean = (Upscaler(scale=2, weights=weights_file, device="cpu", tta=n) for n in (1, 8))
    two_results = 2 * 4 * 3 * 40 * 300
    # Rows of the wider position are the longer ones.
    assert mean.bytes_for(20, 150) >= plain.bytes_for(20, 150) + two_results
    assert mean.bytes_for(150, 20) >= plain.bytes_for(20, 150)


@pytest.mark.parametrize("tta", [0, 3, True, "8"])
def test_other_numbers_are_refused(weights_file: Path, tta: int) -> None:
    with pytest.raises(ArgumentError, match="tta: 1, 2, 4 or 8 is accepted, got"):
        Upscaler(scale=2, weights=weights_file, tta=tta)


def test_it_is_nearer_to_the_original() -> None:
    """By 0.06 dB over all of Set5 at x4; on its smallest picture by more."""
    pairs = read_pairs(eval_folder("Set5") / "x4", 4)
    _, small, large = min(pairs, key=lambda pair: pair[1].numel())
    reached = []
    for tta in (1, 2, 8):
        enlarged = Upscaler(scale=4, device="cpu", tta=tta).up(small[None].float() / 255)[0]
        reached.append(psnr(quantize(enlarged * 255, bits=8), large, crop_border=4))
    assert reached[0] + 0.05 < reached[1] < reached[2] < reached[0] + 0.3
