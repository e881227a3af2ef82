"""How far the work is, told while it goes on, and its end before it is done."""

from pathlib import Path
from threading import get_ident
from unittest.mock import Mock

import pytest
import torch

from lkdn_core import Upscaler
from lkdn_core.formats import FrameFormat


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(3, 3, 41, 37, generator=torch.Generator().manual_seed(4))


def test_up_can_be_stopped_between_tiles(weights_file: Path, rgb: torch.Tensor) -> None:
    upscaler, seen = Upscaler(scale=2, weights=weights_file, tile=16), list[float]()
    upscaler.up(rgb[:1], progress=seen.append)
    assert len(seen) >= 3 * 3 and seen == sorted(seen)
    assert seen[0] == 0 and 0.8 < seen[-1] < 1
    with pytest.raises(KeyboardInterrupt):
        upscaler.up(rgb, progress=Mock(side_effect=[None, KeyboardInterrupt]))
    gray = FrameFormat(family="gray")
    planes = [torch.zeros(1, 40, 40, dtype=torch.uint8)]
    upscaler.up_planes(planes, gray, progress=seen.append)
    assert len(seen) >= 2 * 3 * 3


@pytest.mark.parametrize("tta", [1, 2])
def test_up_can_be_stopped_within_a_large_picture(tta: int) -> None:
    upscaler = Upscaler(scale=2, device="cpu", backend="native", tta=tta)
    picture = torch.rand(1, 3, 900, 900)
    assert upscaler._grid(900, 900, 1) == (1, 1)
    with pytest.raises(KeyboardInterrupt):
        upscaler.up(picture, progress=Mock(side_effect=[None, KeyboardInterrupt]))


@pytest.mark.parametrize("tta", [1, 2])
def test_progress_is_told_within_a_large_picture(tta: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lkdn_core.progress._PAUSE", 0.02)
    upscaler = Upscaler(scale=2, device="cpu", backend="native", tta=tta)
    pictures, seen, threads = torch.rand(2, 3, 300, 300), list[float](), set[int]()

    def progress(share: float) -> None:
        seen.append(share)
        threads.add(get_ident())

    enlarged = upscaler.up(pictures, progress=progress)
    assert torch.equal(enlarged, upscaler.up(pictures))
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] <= 1
    # Of both pictures and all positions there were some between, and not one step at the end.
    parts = {int(share * 2 * tta) for share in seen if share % (1 / (2 * tta)) > 0}
    assert parts == set(range(2 * tta))
    assert threads == {get_ident()}


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_progress_in_inference_mode(rgb: torch.Tensor, backend: str) -> None:
    """ComfyUI's nodes run in it, and the network in a thread of its own."""
    upscaler = Upscaler(scale=2, device="cpu", backend=backend, tta=2)
    with torch.inference_mode():
        enlarged = upscaler.up(rgb, progress=lambda share: None)
    torch.testing.assert_close(enlarged, upscaler.up(rgb), rtol=0, atol=0)


def test_what_the_network_raises_is_raised_where_progress_is_told(
    weights_file: Path, rgb: torch.Tensor
) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu")
    upscaler._network = Mock(upscaler._network, side_effect=KeyError)
    upscaler._network.dtype = torch.float32
    upscaler._network.memory_format = torch.contiguous_format
    upscaler._network.bytes_for.return_value = 1
    with pytest.raises(KeyError):
        upscaler.up(rgb, progress=lambda share: None)
