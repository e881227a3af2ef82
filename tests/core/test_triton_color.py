"""Colour's Triton kernels, as far as they can be checked with and without a GPU."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from own_process import check
from pictures import random_planes
from torch import Tensor

from lkdn_core import triton_color
from lkdn_core.color import from_rgb, from_rgb_plain, to_rgb, to_rgb_plain
from lkdn_core.conversion import decoding, encoding
from lkdn_core.formats import FrameFormat

CHECKS = "color_checks.py"
YUV420P10 = FrameFormat(family="yuv", bits=10, subsampling=(1, 1)).resolved(640, 360)
#: The longest sums in both directions, of what there is in practice, and of all.
FORMATS = [
    FrameFormat(family="yuv", subsampling=(1, 1), chroma_location="center").resolved(640, 360),
    FrameFormat(family="yuv", subsampling=(2, 2), chroma_location="center").resolved(640, 360),
]


def on_a_gpu(test: object) -> object:
    skip = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    return pytest.mark.gpu(skip(test))


@pytest.mark.slow
def test_colours_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    check(CHECKS, interpreted=True)


@on_a_gpu
def test_colours_on_a_gpu() -> None:
    check(CHECKS, interpreted=False)


def test_addends_by_distance() -> None:
    """Each sum, taken apart, is the one of the table it came from."""
    for format in (YUV420P10, *FORMATS):
        for enlarging, how in ((True, decoding(format)), (False, encoding(format))):
            for factor, sums in (how.vertical, how.horizontal):
                first, addends = triton_color._by_distance(factor, sums)
                assert len(addends) <= 5
                found = {
                    (phase, distance) if enlarging else (0, distance * factor + phase): weight
                    for distance, weights in enumerate(addends, first)
                    for phase, weight in enumerate(weights)
                    if weight
                }
                assert found == {(p, i): w for p, taps in enumerate(sums) for i, w in taps}


@pytest.mark.parametrize("failing", ["decode", "encode", None])
def test_torch_takes_over(monkeypatch: pytest.MonkeyPatch, failing: str | None) -> None:
    """On a CPU, and where Triton is missing or fails, if in one direction only."""

    def fail(*_: object) -> None:
        raise RuntimeError("no C compiler")

    for name in ("decode", "encode"):
        monkeypatch.setattr(triton_color, name, fail if name == failing else lambda *_: None)
    works = triton_color._works.__wrapped__(torch.device("cpu"))
    assert works == (failing is None)
    assert not triton_color.converts(torch.zeros(1))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [75, 80, 89, 90])
def test_kernels_compile_without_spilling(capability: int, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    from aot import resources

    launches = []
    for format in FORMATS:
        planes, rgb = random_planes(format, 64, 32, batch=2), torch.empty(2, 3, 32, 64)
        launches += [
            triton_color.decoding_launch(planes, rgb.half(), decoding(format)),
            triton_color.encoding_launch(rgb, planes, encoding(format)),
        ]
    for launch in launches:
        found = resources(launch, capability, tmp_path)
        assert found.stack <= 16
        assert found.registers <= 168  # three programs still share a multiprocessor
        assert found.shared <= 8 * 1024


@on_a_gpu
@torch.inference_mode()
def test_every_gpu_whichever_is_current() -> None:
    planes = random_planes(YUV420P10, 70, 51, batch=2)
    for i in range(torch.cuda.device_count()):
        there = [plane.to(f"cuda:{i}") for plane in planes]
        assert triton_color.converts(there[0])
        rgb = to_rgb(there, YUV420P10, dtype=torch.float16)
        assert rgb.device == there[0].device
        plain = to_rgb_plain(planes, YUV420P10)
        torch.testing.assert_close(rgb.cpu().float(), plain, rtol=0, atol=2**-11)


@on_a_gpu
def test_threads_and_streams_do_not_mix() -> None:
    pictures = [torch.rand(1, 3, 180 + i % 3, 320).cuda() for i in range(24)]

    def there_and_back(rgb: Tensor) -> Tensor:
        with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream()):
            rgb = to_rgb(from_rgb(rgb * 1, YUV420P10), YUV420P10)
            torch.cuda.current_stream().synchronize()
            return rgb

    torch.cuda.synchronize()
    with ThreadPoolExecutor(4) as pool:
        for rgb, got in zip(pictures, pool.map(there_and_back, pictures), strict=True):
            shapes = YUV420P10.plane_shapes(rgb.shape[3], rgb.shape[2])
            planes = [torch.empty(1, *s, dtype=torch.uint16, device="cuda") for s in shapes]
            from_rgb_plain(rgb, planes, YUV420P10)
            plain = to_rgb_plain(planes, YUV420P10)
            torch.testing.assert_close(got, plain, rtol=0, atol=5e-3)
