"""Streams that are not all as they begin: fields, colour tags and shapes of pixels."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from lkdn_core.color import to_rgb
from lkdn_core.formats import FrameFormat
from lkdn_media.recolour import recoloured
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames, planes
from tests.cli.test_fields import H264, combing

PLAIN = Clip(size=(64, 48), options={"qp": "0", "bf": "0"})


def joined(path: Path, *clips: Clip) -> Path:
    """One stream of H.264 out of several, at 25 pictures a second."""
    raw = path.with_suffix(".264")
    raw.write_bytes(b"".join(make_clip(raw, clip).read_bytes() for clip in clips))
    with av.open(str(raw)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            out.mux(packet)
    return path


def test_fields_that_begin_late_are_made_whole(tmp_path: Path, lkdn_video: Command) -> None:
    interlaced = replace(H264, options={**H264.options, "bf": "0"}, pts=range(6))
    here = joined(tmp_path / "a.mkv", replace(PLAIN, pts=range(20)), interlaced)
    assert [f.interlaced_frame for f in frames(here)] == [False] * 20 + [True] * 6
    there, off = tmp_path / "b.mkv", tmp_path / "c.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1") == 0
    assert lkdn_video(here, off, "--codec", "ffv1", "--deinterlace", "off") == 0
    same = [
        all((a == b).all() for a, b in zip(planes(x), planes(y), strict=True))
        for x, y in zip(frames(there), frames(off), strict=True)
    ]
    assert same == [True] * 20 + [False] * 6
    late = joined(tmp_path / "d.mkv", interlaced)
    whole = tmp_path / "e.mkv"
    assert lkdn_video(late, whole, "--codec", "ffv1") == 0
    for x, y in zip(frames(there)[20:], frames(whole), strict=True):
        assert all((a == b).all() for a, b in zip(planes(x), planes(y), strict=True))
    assert combing(whole, step=2) < 0.5 * combing(late)


def test_single_fields_of_hevc_stay_as_they_are(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"x265-params": "interlace=tff:log-level=error", "crf": "4"}
    here = make_clip(tmp_path / "a.mkv", replace(PLAIN, codec="libx265", options=options))
    assert all(f.interlaced_frame for f in frames(here))
    there, off = tmp_path / "b.mkv", tmp_path / "c.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1", "-q") == 0
    assert lkdn_video(here, off, "--codec", "ffv1", "-q", "--deinterlace", "off") == 0
    assert capsys.readouterr().err == ""
    for x, y in zip(frames(there), frames(off), strict=True):
        assert all((a == b).all() for a, b in zip(planes(x), planes(y), strict=True))


def test_colour_tags_that_change_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = replace(PLAIN, tags=Tags(primaries=9, transfer=16, matrix=9))
    here = joined(tmp_path / "a.mkv", PLAIN, wide)
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    assert capsys.readouterr().err == (
        f"lkdn-video: warning: {here}: colour tags that change after the first picture can't be "
        "kept\n"
    )


@pytest.mark.parametrize("ranges", [(1, 2), (2, 1)])
def test_another_range_is_made_like_the_first(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    ranges: tuple[int, int],
) -> None:
    first, other = (replace(PLAIN, tags=Tags(color_range=range)) for range in ranges)
    here, there = joined(tmp_path / "a.mkv", first, other), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1", "-q") in (0, 3)
    assert "can't be kept" not in capsys.readouterr().err
    old, new = (planes(frames(path)[number])[0] for path, number in ((here, 0), (there, -1)))
    number = len(first.pts) - 1  # the last one of the first clip is the last of the other, too
    code = planes(frames(here)[number])[0].astype(float)
    expected = 16 + code * 219 / 255 if ranges == (1, 2) else (code - 16) * 255 / 219
    assert np.abs(new[::2, ::2] - expected).max() < 1.5
    assert np.array_equal(planes(frames(there)[0])[0][::2, ::2], old)
    part = tmp_path / "part.mkv"  # of the second clip alone
    assert lkdn_video(here, part, "--codec", "ffv1", "-q", "--start", "0.4") in (0, 3)
    for whole, late in zip(frames(there)[10:], frames(part), strict=True):
        assert np.array_equal(planes(whole)[0], planes(late)[0])


def test_another_matrix_is_made_like_the_first(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = joined(tmp_path / "a.mkv", PLAIN, replace(PLAIN, tags=Tags(matrix=5)))
    there = tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1", "-q") == 0
    assert capsys.readouterr().err == ""

    def rgb(path: Path, number: int, step: int, matrix: str) -> torch.Tensor:
        shown = [plane[::step, ::step].copy() for plane in planes(frames(path)[number])]
        format = FrameFormat(family="yuv", subsampling=(1, 1), matrix=matrix)
        return to_rgb([torch.from_numpy(plane)[None] for plane in shown], format) * 255

    assert {frame.colorspace for frame in frames(there)} == {1}
    last = len(PLAIN.pts) - 1  # of the first clip, with the same samples
    usual = (rgb(there, last, 2, "bt709") - rgb(here, last, 1, "bt709")).abs().mean()
    meant = rgb(here, -1, 1, "bt470bg")
    assert (rgb(there, -1, 2, "bt709") - meant).abs().mean() < usual + 0.4  # rounded once more
    assert (rgb(there, last, 2, "bt709") - meant).abs().mean() > usual + 0.6


def test_untold_colours_are_as_before(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = joined(tmp_path / "a.mkv", PLAIN, replace(PLAIN, tags=Tags.none()))
    there = tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1", "-q") == 0
    assert capsys.readouterr().err == ""
    for old, new in zip(frames(here), frames(there), strict=True):
        assert np.array_equal(planes(new)[0][::2, ::2], planes(old)[0])


def test_a_shape_of_pixels_that_changes_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = joined(tmp_path / "a.mkv", PLAIN, replace(PLAIN, sar=Fraction(4, 3)))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 3
    assert "the shape of pixels changes on the way, and all got the first" in (
        capsys.readouterr().err
    )
    assert len(frames(tmp_path / "b.mkv")) == 14


def test_another_range_keeps_all_detail_of_chroma() -> None:
    old = FrameFormat(family="yuv", bits=10, subsampling=(1, 1), matrix="bt709", color_range="full")
    new = replace(old, color_range="limited")
    old, new = (format.resolved(33, 27) for format in (old, new))
    random = np.random.default_rng(5)
    shapes = old.plane_shapes(33, 27)
    before = [random.integers(400, 624, shape).astype(np.uint16) for shape in shapes]
    luma, *chroma = recoloured(before, old, new)
    assert np.abs(luma - (64 + before[0] * 876.0 / 1023)).max() < 0.51
    for then, now in zip(before[1:], chroma, strict=True):
        assert np.abs(now - (512 + (then - 512.0) * 896 / 1023)).max() < 0.51
