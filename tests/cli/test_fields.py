"""Interlaced and telecined sources: found by their flags, made whole, timed as they were."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.cli.clips import Clip, make_clip, samples
from tests.cli.media import Command, durations, frames, planes, times

MPEG2 = Clip(
    size=(64, 48),
    codec="mpeg2video",
    options={"qscale": "2", "flags": "+ildct+ilme"},
    fields="tff",
    pts=range(8),
)
H264 = replace(MPEG2, codec="libx264", options={"qp": "0", "flags": "+ildct+ilme"})
NTSC = Fraction(30000, 1001)
FILM = replace(
    MPEG2,
    codec="ffv1",  # keeps the flag of each frame
    options={},
    fields="telecine",
    rate=NTSC,
    time_base=1 / NTSC,
    pts=range(25),
)
FLAGGED = replace(FILM, codec="libx264", options=H264.options, fields="flagged telecine")


def combing(path: Path, *, step: int = 1) -> float:
    """How far rows are from the mean of their neighbours, looking at every ``step``-th."""
    luma = [planes(f)[0][::step].astype(float) for f in frames(path)]
    return float(np.mean([np.abs(2 * y[1:-1] - y[:-2] - y[2:]).mean() for y in luma]))


@pytest.mark.parametrize(
    ("source", "clip"),
    [
        ("a.ts", replace(MPEG2, time_base=Fraction(1, 25))),
        ("a.mkv", replace(H264, fields="bff", options={**H264.options, "x264-params": "bff=1"})),
        ("a.mp4", replace(H264, pts=(0, 1, 2, 4, 7, 8, 9, 10))),
    ],
)
def test_interlaced_pictures_are_made_whole(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    source: str,
    clip: Clip,
) -> None:
    here, there = make_clip(tmp_path / source, clip), tmp_path / "b.mkv"
    assert all(f.interlaced_frame for f in frames(here))
    assert lkdn_video(here, there, "-q") == 0
    assert capsys.readouterr().err == (
        "lkdn-video: warning: the picture is flagged as interlaced, and goes through bwdif; "
        "--ivtc restores the frames of telecined film\n"
    )
    assert not any(f.interlaced_frame for f in frames(there))
    start = times(here)[0] if source == "a.ts" else 0
    assert times(there) == pytest.approx([t - start for t in times(here)], abs=0.0006)
    assert combing(there, step=2) < 0.5 * combing(here)
    off = tmp_path / "off.mkv"
    assert lkdn_video(here, off, "-q", "--deinterlace", "off") == 0
    assert "enlarged as if it were progressive" in capsys.readouterr().err
    assert combing(off, step=2) == pytest.approx(combing(here), rel=0.1)


def test_only_flagged_frames_are_touched(tmp_path: Path, lkdn_video: Command) -> None:
    here, there, forced = (tmp_path / name for name in ("a.mkv", "b.mkv", "c.mkv"))
    make_clip(here, replace(FILM, pts=range(10), rate=Fraction(25), time_base=Fraction(1, 25)))
    lossless = ("-q", "--codec", "ffv1")
    assert lkdn_video(here, there, *lossless) == 0
    assert lkdn_video(here, forced, *lossless, "--deinterlace", "bwdif") == 0
    flags = [f.interlaced_frame for f in frames(here)]
    assert flags == [False, False, True, True, False] * 2
    for flag, old, new, all_ in zip(
        flags, frames(here), frames(there), frames(forced), strict=True
    ):
        large = planes(old)[0].repeat(2, 0).repeat(2, 1).astype(int)
        assert (np.abs(large - planes(new)[0]).max() > 1) == flag
        assert np.abs(large - planes(all_)[0]).max() > 1
    assert times(there) == times(forced) == times(here)
    assert durations(there) == durations(here)


@pytest.mark.parametrize(
    ("clip", "found"),
    [
        (FILM, "flagged as interlaced, two frames of five, as telecined film is"),
        (FLAGGED, "flagged as interlaced"),
    ],
    ids=["flags of each frame", "all flagged"],
)
def test_ivtc_restores_the_film(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], clip: Clip, found: str
) -> None:
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "-q", "--ivtc") == 0
    assert capsys.readouterr().err == (
        f"lkdn-video: warning: the picture is {found}, and goes through fieldmatch, bwdif, "
        "decimate\n"
    )
    shown = [float(t) for t in times(there)]
    assert shown == pytest.approx([i * 1001 / 24000 for i in range(20)], abs=0.0011)
    for number, frame in enumerate(frames(there)):
        luma = samples("yuv420p", 64, 48, number)[0].repeat(2, 0).repeat(2, 1)
        assert np.abs(luma.astype(int) - planes(frame)[0]).mean() < 2


def test_ivtc_times_are_exact_in_mp4(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mp4", FLAGGED), tmp_path / "b.mp4"
    assert lkdn_video(here, there, "-q", "--ivtc") == 0
    assert times(there) == [i * Fraction(1001, 24000) for i in range(20)]


def test_two_ways_at_once_are_refused(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", FILM)
    assert lkdn_video(here, tmp_path / "b.mkv", "--ivtc", "--deinterlace", "bwdif") == 2
    assert capsys.readouterr().err.startswith("lkdn-video: ivtc: makes whole pictures itself")
