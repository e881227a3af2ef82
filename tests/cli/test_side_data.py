"""What travels inside the pictures: kept where the codec has a place for it, else named."""

from pathlib import Path

import pytest
from av.sidedata.sidedata import Type as SideData

from tests.cli.clips import Clip, caption, make_clip
from tests.cli.media import Command, frames, times


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("libx264", "libx264", "b.mp4"),
        ("libx264", "libx265", "b.mkv"),
        ("libx265", "libx264", "b.mkv"),
        ("libx264", "mpeg2video", "b.mkv"),
    ],
)
def test_captions_stay_in_their_frames(
    tmp_path: Path,
    lkdn_video: Command,
    source: str,
    codec: str,
    target: str,
) -> None:
    options = {"x265-params": "log-level=none:cutree=0"} if source == "libx265" else {}
    clip = Clip(size=(64, 48), codec=source, options=options, captions=True)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / target
    assert lkdn_video(here, there, "--codec", codec) == 0
    kept = [bytes(f.side_data[SideData.A53_CC]) for f in frames(there)]
    assert kept == [caption(i) for i in range(7)]
    assert times(there) == times(here)


def test_a_crop_in_the_container_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv")
    display_unit, left_crop = b"\x54\xb2\x81\x04", b"\x54\xcc\x81\x08"
    assert display_unit in here.read_bytes()
    here.write_bytes(here.read_bytes().replace(display_unit, left_crop))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    line = "lkdn-video: warning: the crop of the picture in its container can't be kept"
    assert line in capsys.readouterr().err.splitlines()


def test_captions_come_through_the_filters(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(size=(64, 48), fields="tff", options={"flags": "+ildct"}, captions=True)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there) == 0
    assert not frames(there)[0].interlaced_frame
    kept = [bytes(f.side_data[SideData.A53_CC]) for f in frames(there)]
    assert kept == [caption(i) for i in range(7)]


def test_captions_without_a_place_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(captions=True))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", "ffv1") == 0
    assert capsys.readouterr().err == (
        "lkdn-video: warning: closed captions inside the pictures are lost with ffv1; libx264, "
        "libx265 and mpeg2video keep them\n"
    )
