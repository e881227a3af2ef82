"""Streams that are not all as they begin: fields, colour tags and shapes of pixels."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

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


def test_a_shape_of_pixels_that_changes_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = joined(tmp_path / "a.mkv", PLAIN, replace(PLAIN, sar=Fraction(4, 3)))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 3
    assert "the shape of pixels changes on the way, and all got the first" in (
        capsys.readouterr().err
    )
    assert len(frames(tmp_path / "b.mkv")) == 14
