"""What some encoders can't say or write: matrices, ranges, packets, settings that aren't theirs."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from lkdn_media.encoder_list import list_encoders
from lkdn_media.records import write_record
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames, planes

MATRICES = {1: "itu709", 5: "itu601", 9: "bt2020"}


def rgb(frame: av.VideoFrame, matrix: str) -> np.ndarray:  # type: ignore[type-arg]
    """``frame`` as players show it that go by what its decoder says."""
    picture = frame.reformat(34, 26, format="rgb24", src_colorspace=matrix, interpolation="AREA")
    return picture.to_ndarray().astype(int)


@pytest.mark.parametrize(
    ("codec", "name"), [("mjpeg", "b.mov"), ("mjpeg", "b.mkv"), ("libvpx", "b.webm")]
)
@pytest.mark.parametrize("matrix", [1, 9])
def test_jpeg_and_vp8_are_of_601(
    tmp_path: Path, lkdn_video: Command, codec: str, name: str, matrix: int
) -> None:
    """That is how all decoders show them, whatever the container says."""
    tags = Tags(matrix=matrix)
    here = make_clip(tmp_path / "a.mkv", Clip(codec="ffv1", options={}, tags=tags, pts=range(2)))
    assert lkdn_video(here, tmp_path / name, "--codec", codec) == 0
    before, after = frames(here)[0], frames(tmp_path / name)[0]
    assert after.colorspace == 5
    off = rgb(after, "itu601") - rgb(before, "itu709" if matrix == 1 else "bt2020")
    assert np.abs(off.mean(axis=(0, 1))).max() < 1.5


@pytest.mark.parametrize("codec", ["magicyuv", "tiff", "yuv4"])
def test_mov_leaves_the_range_of_some_unsaid(
    tmp_path: Path, lkdn_video: Command, codec: str
) -> None:
    full = Tags(color_range=ColorRange.JPEG)
    here = make_clip(tmp_path / "a.mkv", Clip(codec="ffv1", options={}, tags=full, pts=(0,)))
    assert lkdn_video(here, tmp_path / "b.mov", "--codec", codec) == 0
    before, after = planes(frames(here)[0])[0], planes(frames(tmp_path / "b.mov")[0])[0]
    assert after.mean() == pytest.approx(16 + before.mean() * 219 / 255, abs=1)


@pytest.mark.parametrize("codec", ["rawvideo", "vc2", "rv10", "rv20"])
@pytest.mark.parametrize("name", ["b.mkv", "b.mov"])
def test_what_fails_at_the_end_is_refused(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    name: str,
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0,)))
    assert lkdn_video(here, tmp_path / name, "--codec", codec) == 2
    assert f"can't hold {codec}" in capsys.readouterr().err
    assert codec not in [encoder.name for encoder in list_encoders()]


def test_lossless_vp9_needs_no_other_quality(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=range(2))), tmp_path / "b.webm"
    assert lkdn_video(here, there, "--codec", "vp9", "--encoder-opt", "lossless=1") == 0
    for old, new in zip(frames(here), frames(there), strict=True):
        assert np.array_equal(planes(old)[0].repeat(2, 0).repeat(2, 1), planes(new)[0])


def test_pictures_too_small_for_svt_av1_are_refused(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """It spoils the memory of the process instead."""
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=range(2))), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "av1", "--height", "14") == 2
    assert "libsvtav1 takes pictures of 16x16 and more, got 18x14" in capsys.readouterr().err
    assert not there.exists()


@pytest.mark.parametrize("option", ["pixel_format=yuv444p", "video_size=8x8", "time_base=1/3"])
def test_what_the_plan_decides_is_not_an_encoders(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0,)))
    assert lkdn_video(here, tmp_path / "b.mkv", "--encoder-opt", option) == 2
    assert f"encoder_opt: {option.partition('=')[0]} follows from " in capsys.readouterr().err


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_b_frames_of_old_codecs_are_dated(tmp_path: Path, lkdn_video: Command, codec: str) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=range(10))), tmp_path / "b.mp4"
    assert lkdn_video(here, there, "--codec", codec, "--encoder-opt", "bf=2") == 0
    with av.open(str(there)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 25
        assert stream.duration * stream.time_base == Fraction(10, 25)
        decoded = [p.dts * stream.time_base for p in file.demux(stream) if p.size]
    assert decoded == [Fraction(n, 25) for n in range(-1, 9)]


@pytest.mark.parametrize("segment", ["0", "240"])
def test_a_broken_off_job_is_not_passed_over(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], segment: str
) -> None:
    """Even where the new settings need none."""
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=range(4))), tmp_path / "b.mkv"
    folder = tmp_path / "b.mkv.lkdn"
    folder.mkdir()
    write_record(folder / "job.json", {"settings": {"segment": 10}})
    assert lkdn_video(here, there, "--segment", segment) == 2
    assert "--restart" in capsys.readouterr().err
    assert not there.exists() and folder.exists()
    assert lkdn_video(here, there, "--segment", segment, "--restart") == 0
    assert len(frames(there)) == 4 and not folder.exists()
