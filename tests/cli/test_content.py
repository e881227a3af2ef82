"""Whole files against zimg: tags read, colours converted, pictures written as they should be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, colour, frames, planes

BICUBIC = {"filter_param_a": 0, "filter_param_b": 0.5, "dither_type": "none"}
SIZE = 48, 40


def enlarged_by_zimg(source: list[np.ndarray], format: int, tags: Tags) -> list[np.ndarray]:
    """YUV to RGB, every pixel repeated, and back, all by zimg."""
    blank = vs.core.std.BlankClip(format=format, width=SIZE[0], height=SIZE[1], length=1)
    said = {"matrix": tags.matrix, "range": 2 - tags.color_range}
    if format not in (vs.GRAY8, vs.GRAY10):
        said["chromaloc"] = tags.chroma_location - 1

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for index, plane in enumerate(source):
            np.asarray(frame[index])[:] = plane
        return frame

    clip = blank.std.ModifyFrame(blank, fill)
    if clip.format.color_family == vs.GRAY:
        large = clip.resize.Point(2 * SIZE[0], 2 * SIZE[1])
    else:
        heard = {f"{name}_in": value for name, value in said.items()}
        rgb = clip.resize.Bicubic(format=vs.RGBS, **heard, **BICUBIC)
        rgb = rgb.std.Expr("x 0 max 1 min").resize.Point(2 * SIZE[0], 2 * SIZE[1])
        large = rgb.resize.Bicubic(format=format, **said, **BICUBIC)
    with large.get_frame(0) as frame:
        return [np.array(frame[i]) for i in range(len(frame))]


@pytest.mark.parametrize(
    ("pix_fmt", "format", "tags"),
    [
        ("yuv420p", vs.YUV420P8, Tags()),
        ("yuv420p", vs.YUV420P8, Tags(6, 6, 6, 1, 1)),
        ("yuv420p", vs.YUV420P8, Tags(5, 6, 5, 2, 2)),
        ("yuv422p", vs.YUV422P8, Tags(1, 1, 1, 2, 1)),
        ("yuv444p", vs.YUV444P8, Tags(1, 1, 1, 1, 1)),
        ("yuv420p10le", vs.YUV420P10, Tags(9, 16, 9, 1, 3)),
        ("yuv420p10le", vs.YUV420P10, Tags(9, 18, 9, 1, 1)),
        ("yuv422p10le", vs.YUV422P10, Tags()),
        ("yuv444p12le", vs.YUV444P12, Tags()),
        ("gray", vs.GRAY8, Tags(1, 1, 1, 1, 1)),
        ("gray10le", vs.GRAY10, Tags(1, 1, 1, 1, 1)),
    ],
    ids=str,
)
def test_pictures_equal_zimg(
    tmp_path: Path, lkdn_video: Command, pix_fmt: str, format: Any, tags: Tags
) -> None:
    clip = Clip(size=SIZE, pix_fmt=pix_fmt, codec="ffv1", options={}, tags=tags, pts=(0, 1))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "-q", "--codec", "ffv1") == 0
    assert colour(frames(there)[0])[2:4] == (tags.matrix, tags.color_range)
    for old, new in zip(frames(here), frames(there), strict=True):
        expected = enlarged_by_zimg(planes(old), format, tags)
        off = [
            np.abs(now.astype(int) - should).ravel()
            for now, should in zip(planes(new), expected, strict=True)
        ]
        assert np.concatenate(off).max() <= 1
        assert np.concatenate(off).mean() < 0.01
