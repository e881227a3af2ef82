"""Colour against zimg, through VapourSynth: every matrix, range, depth, subsampling and siting."""

from typing import Any, Final

import numpy as np
import pytest
import torch
import vapoursynth as vs
from pictures import DEPTHS, random_planes, random_rgb, sitings
from torch import Tensor

from lkdn_core.color import from_rgb, to_rgb
from lkdn_core.formats import CHROMA_LOCATIONS, SUPPORTED_MATRICES, FrameFormat

#: Distance of `to_rgb` from zimg's float RGB: about 1/1000 of a 10-bit code.
RGB_TOLERANCE: Final = 1e-6
#: Share of samples of `from_rgb` that may fall on the other side of a rounding boundary (by one
#: code): float32 itself is 0.02 of a code wide at 16 bits.
OFF_BY_ONE: Final = {8: 0.001, 10: 0.002, 16: 0.01}


def zimg(planes: list[Tensor], source: FrameFormat, target: FrameFormat) -> list[Tensor]:
    """Convert one picture with zimg: bicubic (b = 0, c = 0.5), no dithering."""
    height, width = planes[0].shape[1:]
    source, target = source.resolved(width, height), target.resolved(width, height)
    blank = vs.core.std.BlankClip(format=_vs_format(source), width=width, height=height, length=1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for index, plane in enumerate(planes):
            np.asarray(frame[index])[:] = plane[0].numpy()
        return frame

    clip = blank.std.ModifyFrame(blank, fill).resize.Bicubic(
        format=_vs_format(target),
        dither_type="none",
        filter_param_a=0,
        filter_param_b=0.5,
        **_vs_tags(source, "_in"),
        **_vs_tags(target, ""),
    )
    with clip.get_frame(0) as frame:
        return [torch.from_numpy(np.array(frame[i]))[None] for i in range(len(frame))]


def _vs_format(format: FrameFormat) -> int:
    family = {"yuv": vs.YUV, "rgb": vs.RGB, "gray": vs.GRAY}[format.family]
    sample_type = vs.FLOAT if format.sample_type == "float" else vs.INTEGER
    return int(vs.core.query_video_format(family, sample_type, format.bits, *format.subsampling))


def _vs_tags(format: FrameFormat, suffix: str) -> dict[str, Any]:
    names = {"smpte170m": "170m", "bt470bg": "470bg", "smpte240m": "240m", "bt2020nc": "2020ncl"}
    tags: dict[str, Any] = {f"range{suffix}_s": format.color_range}
    if format.matrix is not None:
        matrix = names.get(format.matrix, format.matrix.removeprefix("bt"))
        tags[f"matrix{suffix}_s"] = matrix
    if format.chroma_location is not None:
        codes = {name: code for code, name in CHROMA_LOCATIONS.items()}
        tags[f"chromaloc{suffix}"] = codes[format.chroma_location]
    return tags


RGBS: Final = FrameFormat(family="rgb", sample_type="float", bits=32)


def assert_decodes_like_zimg(format: FrameFormat, width: int, height: int) -> None:
    planes = random_planes(format, width, height)
    expected = torch.stack(zimg(planes, format, RGBS), 1).clamp(0, 1)
    torch.testing.assert_close(to_rgb(planes, format), expected, rtol=0, atol=RGB_TOLERANCE)


def assert_encodes_like_zimg(format: FrameFormat, width: int, height: int) -> None:
    rgb = random_rgb(width, height)
    expected = zimg(list(rgb.unbind(1)), RGBS, format)
    planes = from_rgb(rgb, format)
    assert [p.shape for p in planes] == [p.shape for p in expected]
    assert all(p.dtype == format.dtype and p.is_contiguous() for p in planes)
    if format.sample_type == "float":
        # One unit in the last place of half precision.
        rtol = 2.0**-10 if format.bits == 16 else 0
        torch.testing.assert_close(planes, expected, rtol=rtol, atol=RGB_TOLERANCE)
        return
    pairs = zip(planes, expected, strict=True)
    off = torch.cat([(p.long() - e.long()).abs().flatten() for p, e in pairs])
    assert off.max() <= 1
    assert off.float().mean() <= OFF_BY_ONE[format.bits]


@pytest.mark.parametrize("matrix", SUPPORTED_MATRICES)
@pytest.mark.parametrize("color_range", ["limited", "full"])
@pytest.mark.parametrize(("sample_type", "bits"), DEPTHS)
def test_yuv_equals_zimg(matrix: str, color_range: Any, sample_type: Any, bits: int) -> None:
    for siting in sitings():
        format = FrameFormat(
            family="yuv",
            bits=bits,
            sample_type=sample_type,
            matrix=matrix,
            color_range=color_range,
            **siting,
        )
        assert_decodes_like_zimg(format, 32, 24)
        assert_encodes_like_zimg(format, 32, 24)


@pytest.mark.parametrize(("subsampling", "size"), [((0, 0), (33, 17)), ((1, 0), (34, 17))])
def test_odd_sizes_equal_zimg(subsampling: tuple[int, int], size: tuple[int, int]) -> None:
    format = FrameFormat(family="yuv", bits=10, subsampling=subsampling)
    assert_decodes_like_zimg(format, *size)
    assert_encodes_like_zimg(format, *size)


@pytest.mark.parametrize("family", ["rgb", "gray"])
@pytest.mark.parametrize("color_range", ["limited", "full"])
@pytest.mark.parametrize(("sample_type", "bits"), DEPTHS)
def test_rgb_and_gray_equal_zimg(
    family: Any, color_range: Any, sample_type: Any, bits: int
) -> None:
    format = FrameFormat(family=family, bits=bits, sample_type=sample_type, color_range=color_range)
    assert_decodes_like_zimg(format, 33, 17)
    assert_encodes_like_zimg(format, 33, 17)
