"""Colour conversion in C++ against plain torch, on every instruction set this processor has."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from pictures import framed, random_planes

from lkdn_core import native_color
from lkdn_core.color import from_rgb, from_rgb_plain, to_rgb, to_rgb_plain
from lkdn_core.conversion import decoding, encoding
from lkdn_core.formats import FrameFormat
from lkdn_core.native_library import instruction_sets

SETS = sorted(instruction_sets()) or ["absent"]  # the order of two is measured
SIZES = [(1, 1), (5, 2), (37, 50)]
SITES = ("left", "center", "topleft", "top", "bottomleft", "bottom")

compiled = pytest.mark.skipif(SETS == ["absent"], reason="the native library was not compiled")
every_set = pytest.mark.parametrize("instructions", SETS)
depths = pytest.mark.parametrize(("bits", "kind"), [(8, "integer"), (10, "integer"),
                                                    (16, "integer"), (32, "float")])  # fmt: skip


def formats(bits: int, kind: str) -> Iterator[FrameFormat]:
    """Formats of every family, subsampling, site, range, and the matrices that differ in kind."""
    common = {"bits": bits, "sample_type": kind}
    for color_range in ("limited", "full"):
        yield FrameFormat(family="rgb", color_range=color_range, **common)
        yield FrameFormat(family="gray", matrix="bt709", color_range=color_range, **common)
        yield FrameFormat(family="rgb", color_range=color_range, headroom=True, **common)
        for matrix in ("bt709", "bt2020nc", "ycgco"):
            tags = {"matrix": matrix, "color_range": color_range}
            yield FrameFormat(family="yuv", **common, **tags)
            yield FrameFormat(family="yuv", subsampling=(1, 1), headroom=True, **common, **tags)
            for subsampling in itertools.product(range(3), range(3)):
                for site in SITES if subsampling != (0, 0) else ():
                    tags["chroma_location"] = site
                    yield FrameFormat(family="yuv", subsampling=subsampling, **common, **tags)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


@compiled
@every_set
@depths
def test_planes_to_rgb(bits: int, kind: str, instructions: str) -> None:
    for format in formats(bits, kind):
        for height, width in SIZES:
            planes, _ = framed(random_planes(format, width, height, batch=2))
            rgb = torch.full((2, 3, height, width), 9.0)
            native_color.decode(planes, rgb, decoding(format), instructions=instructions)
            plain = to_rgb_plain(planes, format)
            torch.testing.assert_close(rgb, plain, rtol=0, atol=1e-6, msg=str(format))


@compiled
@every_set
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_chroma_that_is_no_number_spoils_only_what_it_is_for(
    instructions: str, value: float
) -> None:
    format = FrameFormat(family="yuv", bits=32, sample_type="float", matrix="bt709")
    for broken in (1, 2):
        planes = [torch.full((1, 2, 9), level) for level in (0.5, 0.1, 0.2)]
        planes[broken][0, 1, 4] = value
        rgb = torch.full((1, 3, 2, 9), 9.0)
        native_color.decode(planes, rgb, decoding(format), instructions=instructions)
        torch.testing.assert_close(rgb, to_rgb_plain(planes, format), rtol=0, atol=1e-6)


@compiled
@every_set
@depths
def test_rgb_to_planes(bits: int, kind: str, instructions: str) -> None:
    """Integers differ where a value lies between two codes, which is rare, and never by two."""
    differing = total = 0
    for format in formats(bits, kind):
        for height, width in SIZES:
            shapes = format.plane_shapes(width, height)
            plain = [torch.empty(2, *shape, dtype=format.dtype) for shape in shapes]
            ours, around = framed(plain)
            rgb = torch.rand(2, 3, height, width) * 1.2 - 0.1
            native_color.encode(rgb, ours, encoding(format), instructions=instructions)
            from_rgb_plain(rgb, plain, format)
            for got, wanted in zip(ours, plain, strict=True):
                distance = (got.double() - wanted.double()).abs()
                assert distance.max() <= (1 if kind == "integer" else 1e-6), format
                differing += int(distance.count_nonzero())
                total += distance.numel()
            for plane in around:
                plane[:, 1:-1, 2:-3] = 1
                assert bool((plane == 1).all()), "written outside the plane"
    if kind == "integer":
        assert differing <= total * 2.0 ** (bits - 8) * 5e-5


@compiled
def test_every_thread_count_gives_the_same_bits() -> None:
    format = FrameFormat(family="yuv", bits=10, subsampling=(1, 1)).resolved(90, 301)
    rgb, results = torch.rand(2, 3, 301, 90), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            planes = from_rgb(rgb, format)
            results.append((*planes, to_rgb(planes, format)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_no_picture_at_all() -> None:
    format = FrameFormat(family="yuv", subsampling=(1, 1)).resolved(14, 9)
    planes = [plane[:0] for plane in random_planes(format, 14, 9, batch=2)]
    rgb = to_rgb(planes, format)
    assert rgb.shape == (0, 3, 9, 14)
    assert [p.shape for p in from_rgb(rgb, format)] == [p.shape for p in planes]


@compiled
def test_plain_torch_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, in half precision, and on other devices."""
    format = FrameFormat(family="yuv", subsampling=(1, 1)).resolved(14, 9)
    planes = random_planes(format, 14, 9, batch=2)
    there = to_rgb(planes, format), from_rgb(to_rgb(planes, format), format)
    rgb = torch.zeros(2, 3, 9, 14)
    assert native_color.encodes(rgb, planes)
    assert not native_color.decodes([planes[0].half()])
    assert not native_color.decodes([planes[0].to("meta")])
    assert not native_color.encodes(rgb, [planes[0][:, :, ::2]])
    assert not native_color.encodes(rgb.double(), planes)
    monkeypatch.setattr(native_color, "native_library", lambda: None)
    assert not native_color.decodes(planes)
    torch.testing.assert_close(to_rgb(planes, format), there[0], rtol=0, atol=1e-6)
    for got, wanted in zip(from_rgb(there[0], format), there[1], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1)
