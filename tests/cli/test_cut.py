"""Parts of a video: ``--start``, ``--end`` and ``--frames``."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError
from lkdn_media.cut import cut, cut_ticks
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.plan import make_plan
from lkdn_media.probe import probe
from lkdn_media.source import Span
from lkdn_media.timecode import later_timecode
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies, durations, frames, planes, times
from tests.cli.test_segments import packets, run

#: 40 frames of 25 a second with a keyframe every 8, B-frames between, and sound to 0.3 s.
LONG = Clip(
    pts=range(40),
    options={"qp": "0", "preset": "veryfast", "g": "8", "bf": "2"},
    audio=({"language": "deu"},),
    chapters=((0, 100, "eins"), (100, 700, "zwei"), (700, 1600, "drei")),
)
FAST = ("--codec", "ffv1")


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (4, 4), (6, 6), (99, 6)])
def test_frames_are_counted_where_their_times_vary(tmp_path: Path, frames: int, count: int) -> None:
    pts = (0, 2, 12, 19, 97, 100)
    clip = Clip(codec="ffv1", options={}, time_base=Fraction(1, 100), pts=pts)
    assert cut(probe(make_clip(tmp_path / "a.mkv", clip)), frames=frames).frames == count


@pytest.mark.parametrize(
    ("ending", "options", "first", "last"),
    [
        ("mkv", ("--start", "0.4"), 10, 40),
        ("mkv", ("--end", "0.6"), 0, 15),
        ("mkv", ("--start", "0:0.52", "--end", "0.96"), 13, 24),
        ("mkv", ("--start", "1.2", "--frames", "400"), 30, 40),
        ("mp4", ("--start", "00:00:00.43"), 11, 40),
        ("mp4", ("--frames", "7"), 0, 7),
        ("mov", ("--start", "1.2", "--frames", "4"), 30, 34),
        ("ts", ("--start", "0.43", "--end", "1.03"), 11, 26),
        ("ts", ("--start", "1.2", "--frames", "4"), 30, 34),
    ],
)
def test_exactly_these_frames(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    ending: str,
    options: tuple[str, ...],
    first: int,
    last: int,
) -> None:
    clip = LONG if ending != "ts" else replace(LONG, chapters=())
    here, there = make_clip(tmp_path / f"a.{ending}", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *FAST, *options) == 0
    old = times(here)[first:last]
    assert [float(t) for t in times(there)] == pytest.approx(
        [float(t - old[0]) for t in old], abs=0.0006
    )
    small, large = frames(here)[first:last], frames(there)
    for before, after in zip(small, large, strict=True):
        luma = planes(before)[0].repeat(2, 0).repeat(2, 1).astype(int)
        assert np.abs(luma - planes(after)[0]).mean() < 2


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("hidden", [0, 4096])
def test_sound_starts_with_the_picture(
    tmp_path: Path, lkdn_video: Command, ending: str, hidden: int
) -> None:
    """Whole packets, with those before the part whose samples players leave out at the start.

    ``hidden``: samples before time 0, beside the 1024 with which the encoder begins.
    """
    clip = replace(LONG, audio_start=-hidden)
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--start", "0.08", "--end", "0.2") == 0
    start, end = times(here)[2], times(here)[5]
    (old, *_), (new, *_) = copies(here), copies(there)
    first = start - Fraction(1024 + hidden, 48000)
    kept = [p for p in old.packets if p[1] is not None and first <= p[1] < end]
    assert [p[0] for p in new.packets] == [p[0] for p in kept]
    assert 0 < len(kept) < len(old.packets)
    moved = [float(after[1] - before[1]) for after, before in zip(new.packets, kept, strict=True)]
    assert moved == pytest.approx([-float(start)] * len(kept), abs=0.001)
    with av.open(str(there)) as container:
        heard = [frame.time for frame in container.decode(audio=0)]
    assert 0 <= heard[0] < 1024 / 48000
    assert times(there)[0] == 0


def test_ticks_are_those_of_the_file(tmp_path: Path) -> None:
    clip = Clip(
        time_base=Fraction(1, 1000), pts=(0, 33, 50, 120, 200), durations=(33, 17, 70, 80, 40)
    )
    source = probe(make_clip(tmp_path / "a.mkv", clip))
    assert cut_ticks(source, 34, 121).span == Span(50, 121)
    assert cut_ticks(source, 34, None).span == Span(50, None)
    assert cut_ticks(source, 34, None, frames=1).span == Span(50, 120)
    with pytest.raises(ArgumentError, match=r"a\.mkv shows no frame from 0\.051 s to 0\.12 s$"):
        cut_ticks(source, 51, 120)
    with pytest.raises(ArgumentError, match=r"a\.mkv shows no frame from 0\.201 s on$"):
        cut_ticks(source, 201, None)


def test_subtitles_are_cut_like_the_picture(tmp_path: Path, lkdn_video: Command) -> None:
    """Two lines, from 0.04 to 0.13 and from 0.14 to 0.23 s."""
    here = make_clip(tmp_path / "a.mkv", replace(LONG, subtitles="subrip"))
    for start, expected in (
        ("0.08", [(b"Zeile 0", 0.0, 0.05), (b"Zeile 1", 0.06, 0.09)]),
        ("0.16", [(b"Zeile 1", 0.0, 0.07)]),
        ("0.08 --end 0.2", [(b"Zeile 0", 0.0, 0.05), (b"Zeile 1", 0.06, 0.06)]),
        ("0.4", []),
    ):
        there = tmp_path / "b.mkv"
        assert lkdn_video(here, there, *FAST, "-y", "--start", *start.split()) == 0
        (track,) = [c for c in copies(there) if c.kind == "subtitle"]
        found = [(text, float(at), float(length)) for text, at, length in track.packets]
        assert [f[0] for f in found] == [e[0] for e in expected]
        for got, wanted in zip(found, expected, strict=True):
            assert got[1:] == pytest.approx(wanted[1:], abs=0.001)


def test_chapters_and_covers_of_a_part(tmp_path: Path, lkdn_video: Command) -> None:
    here = make_clip(tmp_path / "a.mp4", replace(LONG, cover=True, metadata={"title": "T"}))
    there = tmp_path / "b.mp4"
    assert lkdn_video(here, there, "--start", "0.4", "--end", "1.2") == 0
    with av.open(str(there)) as result:
        chapters = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"])
            for c in result.chapters()
        ]
        assert chapters == [(0.0, 0.3, {"title": "zwei"}), (0.3, 0.8, {"title": "drei"})]
        assert result.metadata["title"] == "T"
    covers = [c for c in copies(there) if c.kind == "video"]
    assert covers == [c for c in copies(here) if c.kind == "video"]
    assert len(covers) == 1


def test_times_of_varying_length_keep_their_distance(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(
        time_base=Fraction(1, 1000),
        pts=(0, 33, 50, 120, 121, 200, 290),
        durations=(33, 17, 70, 1, 79, 90, 40),
    )
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *FAST, "--start", "0.05", "--end", "0.2") == 0
    assert times(there) == [Fraction(t, 1000) for t in (0, 70, 71)]
    assert durations(there) == [Fraction(t, 1000) for t in (70, 1, 79)]


def test_frames_that_come_late_are_told_of_in_a_part(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = Clip(codec="ffv1", options={}, pts=(0, 1, 2, 2, 4, 5, 6))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    for options, code in (
        (("--frames", "6"), 3),
        (("--start", "0.04"), 3),
        (("--start", "0.2"), 0),
    ):
        assert lkdn_video(here, there, "-y", *options) == code
        assert ("1 frame moved, having come late" in capsys.readouterr().err) == (code == 3)


def test_the_start_of_a_file_counts_as_zero(tmp_path: Path, lkdn_video: Command) -> None:
    """A transport stream begins anywhere; players show 0:00 there."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(900000, 925200, 3600))
    here, there = make_clip(tmp_path / "a.ts", clip), tmp_path / "b.mkv"
    assert float(times(here)[0]) > 5
    assert lkdn_video(here, there, *FAST, "--start", "0.08") == 0
    assert [float(t) for t in times(there)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_frames_without_times_can_be_cut(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.h264"), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *FAST, "--start", "0.08", "--frames", "3") == 0
    assert times(there) == [Fraction(i, 25) for i in range(3)]


@pytest.mark.parametrize("ending", ["mov", "mkv"])
def test_the_timecode_is_that_of_the_part(tmp_path: Path, lkdn_video: Command, ending: str) -> None:
    clip = Clip(metadata={"timecode": "01:02:03:24"})
    here, there = make_clip(tmp_path / f"a.{ending}", clip), tmp_path / "b.mov"
    for part, timecode in (
        (("--start", "0.08"), "01:02:04:01"),
        (("--frames", "3"), "01:02:03:24"),
    ):
        assert lkdn_video(here, there, *part, "-y") == 0
        with av.open(str(there)) as result:
            assert {s.metadata.get("timecode") for s in result.streams} == {timecode}


@pytest.mark.parametrize(
    ("timecode", "frames", "rate", "later"),
    [
        ("10:00:00:12", 26, 25, "10:00:01:13"),
        ("23:59:59:23", 2, Fraction(24000, 1001), "00:00:00:01"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 107892, Fraction(30000, 1001), "01:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("23:59:59:119", 1, 120, "00:00:00:000"),
        ("a quarter past ten", 1, 25, None),
    ],
)
def test_later_timecodes(timecode: str, frames: int, rate: Fraction, later: str | None) -> None:
    assert later_timecode(timecode, frames, Fraction(rate)) == later


def test_a_part_goes_on_after_a_break(tmp_path: Path, untrained: Path) -> None:
    here = make_clip(tmp_path / "a.mp4", LONG)
    whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
    source = cut(probe(here), start=Fraction("0.12"), end=Fraction("1.3"))
    plan = make_plan(source, whole, scale=2, choice=EncoderChoice(preset="ultrafast"))
    upscaler = Upscaler(scale=2, weights=untrained, device="cpu")
    assert run(plan, whole, upscaler) == 30
    assert run(plan, broken, upscaler, limit=17) < 30
    assert run(plan, broken, upscaler) < 25
    assert packets(broken) == packets(whole)
    assert copies(broken) == copies(whole)
    assert times(broken) == [Fraction(i, 25) for i in range(30)]
