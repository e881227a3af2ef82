"""Colour's GPU kernels against plain torch, on a GPU or in Triton's interpreter.

A file of its own process, which test_triton_color starts.
"""

import os

import pytest
import torch
from pictures import framed, random_planes
from torch import Tensor

from lkdn_core import triton_color
from lkdn_core.color import from_rgb_plain, to_rgb_plain
from lkdn_core.conversion import decoding, encoding
from lkdn_core.formats import FrameFormat

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


def yuv(bits: int, subsampling: tuple[int, int], **tags: str) -> FrameFormat:
    return FrameFormat(family="yuv", bits=bits, subsampling=subsampling, **tags)


FORMATS = [
    yuv(8, (1, 1), matrix="bt709"),
    yuv(10, (1, 1), matrix="bt2020nc", chroma_location="topleft"),
    yuv(16, (1, 1), color_range="full", chroma_location="center"),
    yuv(12, (1, 1), matrix="ycgco", chroma_location="bottom"),
    yuv(8, (1, 1), matrix="ycgco", color_range="full", chroma_location="bottomleft"),
    yuv(10, (1, 0)),
    yuv(8, (0, 1), chroma_location="top"),
    yuv(8, (2, 0), matrix="fcc"),
    yuv(8, (2, 2), chroma_location="center"),
    yuv(16, (0, 0), matrix="smpte240m"),
    yuv(16, (1, 1), sample_type="float"),
    yuv(32, (1, 1), sample_type="float", chroma_location="center"),
    FrameFormat(family="gray", bits=10),
    FrameFormat(family="gray", bits=32, sample_type="float"),
    FrameFormat(family="rgb"),
    FrameFormat(family="rgb", bits=16, color_range="limited"),
    FrameFormat(family="rgb", bits=16, sample_type="float"),
    FrameFormat(family="yuv", subsampling=(1, 1), headroom=True),
    FrameFormat(family="rgb", bits=32, sample_type="float", headroom=True),
]
SIZES = [(13, 7)] if INTERPRETED else [(13, 7), (67, 530), (270, 480)]
TINY = [(1, 1), (2, 3), (5, 18)]
every_format = pytest.mark.parametrize(
    "format", FORMATS, ids=lambda f: f"{f.family}{f.bits}-{f.subsampling}-{f.chroma_location}"
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def on_device(planes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """`framed`, there."""
    wide = [plane.to(DEVICE) for plane in framed(planes)[1]]
    return [plane[:, 1:-1, 2:-3] for plane in wide], wide


def distance(got: Tensor, wanted: Tensor) -> Tensor:
    return (got.cpu().double() - wanted.cpu().double()).abs()


def compare_rgb(planes: list[Tensor], format: FrameFormat) -> Tensor:
    """Decode planes that lie on the device both ways. Returns RGB as plain torch makes it."""
    n, height, width = planes[0].shape
    rgb = torch.full((n, 3, height, width), torch.nan, device=DEVICE)
    triton_color.decode(planes, rgb, decoding(format))
    plain = to_rgb_plain(planes, format)
    torch.testing.assert_close(rgb, plain, rtol=0, atol=1e-6)
    return plain


def compare_planes(rgb: Tensor, format: FrameFormat) -> tuple[int, int]:
    """Encode ``rgb`` both ways. Returns how many samples differ, of how many."""
    n, _, height, width = rgb.shape
    shapes = format.plane_shapes(width, height)
    plain = [torch.empty(n, *shape, dtype=format.dtype) for shape in shapes]
    ours, around = on_device(plain)
    plain = [plane.to(DEVICE) for plane in plain]
    triton_color.encode(rgb, ours, encoding(format))
    from_rgb_plain(rgb, plain, format)
    differing = 0
    tolerance = 1 if format.sample_type == "integer" else 1e-6
    if format.dtype == torch.float16:
        tolerance = 2**-11  # between two neighbours
    for got, wanted in zip(ours, plain, strict=True):
        assert distance(got, wanted).max() <= tolerance
        differing += int(distance(got, wanted).count_nonzero())
    for plane in around:
        outside = plane.cpu()
        outside[:, 1:-1, 2:-3] = 1
        assert bool((outside == 1).all()), "written outside the plane"
    return differing, sum(plane.numel() for plane in plain)


@every_format
def test_planes_to_rgb(format: FrameFormat) -> None:
    for height, width in SIZES:
        resolved = format.resolved(width, height)
        planes, _ = on_device(random_planes(resolved, width, height, batch=2))
        compare_rgb(planes, resolved)


@every_format
def test_rgb_to_planes(format: FrameFormat) -> None:
    """Integers differ where a value lies between two codes, which is rare, and never by two."""
    differing = total = 0
    for height, width in SIZES:
        rgb = (torch.rand(2, 3, height, width) * 1.2 - 0.1).to(DEVICE)
        found, of = compare_planes(rgb, format.resolved(width, height))
        differing, total = differing + found, total + of
    if format.sample_type == "integer":
        assert differing <= 1 + total * 2.0 ** (format.bits - 8) * 5e-5


@pytest.mark.parametrize(("height", "width"), TINY)
def test_pictures_smaller_than_a_sum(height: int, width: int) -> None:
    for format in (FORMATS[2], FORMATS[8]):
        resolved = format.resolved(width, height)
        planes, _ = on_device(random_planes(resolved, width, height, batch=2))
        compare_planes(compare_rgb(planes, resolved), resolved)


@pytest.mark.parametrize("format", [FORMATS[2], FORMATS[8]], ids=["4:2:0", "4:1:0"])
def test_programs_join(format: FrameFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of many small programs, none of which it fills to the end."""
    monkeypatch.setattr(triton_color, "_COLUMNS", 16)
    monkeypatch.setattr(triton_color, "_ROWS", 2)
    resolved = format.resolved(19, 9)
    planes, _ = on_device(random_planes(resolved, 19, 9, batch=2))
    compare_planes(compare_rgb(planes, resolved), resolved)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_and_strides(dtype: torch.dtype) -> None:
    """RGB with channels last, and planes whose columns lie two apart, as in NV12."""
    format = FORMATS[0].resolved(9, 6)
    rgb = (torch.rand(1, 6, 9, 3, dtype=dtype) * 1.2 - 0.1).to(DEVICE).movedim(-1, 1)
    compare_planes(rgb, format)
    planes = [
        plane.to(DEVICE).repeat_interleave(2, -1) for plane in random_planes(format, 9, 6, batch=2)
    ]
    planes = [plane[..., ::2] for plane in planes]
    rgb = torch.full((2, 3, 6, 9), torch.nan, dtype=dtype, device=DEVICE)
    triton_color.decode(planes, rgb, decoding(format))
    plain = to_rgb_plain(planes, format).to(dtype)
    torch.testing.assert_close(rgb, plain, rtol=torch.finfo(dtype).eps, atol=1e-6)
