"""Interlaced and telecined sources: found by their flags, made whole, timed as they were."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
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


@pytest.mark.parametrize("name", ["a.mpg", "a.ts", "a.mkv"])
def test_film_whose_fields_the_player_repeats_stays_as_it_is(
    tmp_path: Path, lkdn_video: Command, name: str
) -> None:
    """Of what is stored as film nothing is left out; what follows, telecined, is restored."""
    here, there = film_on_dvd(tmp_path / name), tmp_path / "b.mp4"
    start = times(here)[0]
    halves = [round((t - start) * 2 * NTSC) for t in times(here)]
    assert halves == [(5 * n + 1) // 2 for n in range(12)] + [30 + 2 * n for n in range(10)]
    assert lkdn_video(here, there, "-q", "--ivtc") == 0
    shown = [float(t) for t in times(there)]
    assert shown == pytest.approx([i * 1001 / 24000 for i in range(20)], abs=0.002)
    for number, frame in zip([*range(12), *range(8)], frames(there), strict=True):
        luma = samples("yuv420p", 64, 64, number)[0].repeat(2, 0).repeat(2, 1)
        assert np.abs(luma.astype(int) - planes(frame)[0]).mean() < 9  # a neighbour: 12


def film_on_dvd(path: Path) -> Path:
    """Twelve frames of film stored as such, every other with a field to repeat; then telecine."""
    part = replace(MPEG2, size=(64, 64), rate=NTSC, time_base=1 / NTSC)
    parts = [
        replace(part, pts=range(12), fields=None, options={"qscale": "2"}),
        replace(part, pts=range(10), fields="flagged telecine"),
    ]
    clips = [make_clip(path.with_name(f"{i}.mkv"), part) for i, part in enumerate(parts)]
    with av.open(str(path), "w") as out, av.open(str(clips[0])) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        for film, clip in enumerate(clips):
            with av.open(str(clip)) as source:
                coded = [bytes(packet) for packet in source.demux(video=0) if packet.size]
            for number, data in enumerate(coded):
                packet = av.Packet(data if film else with_repeated_field(data, number))
                packet.pts = packet.dts = 30 + 2 * number if film else (5 * number + 1) // 2
                packet.stream, packet.time_base = stream, 1 / (2 * NTSC)
                packet.is_keyframe = number == 0
                out.mux(packet)
    return path


def with_repeated_field(picture: bytes, number: int) -> bytes:
    """A coded picture of MPEG-2 (ISO 13818-2, 6.2.2.3 and 6.2.3.1) of a 3:2 pulldown."""
    data = bytearray(picture)
    at = data.find(b"\0\0\1\xb5")
    while at >= 0:
        if data[at + 4] >> 4 == 1:
            data[at + 5] &= ~0x08  # progressive_sequence
        elif data[at + 4] >> 4 == 8:
            top = number % 4 in (0, 3)
            data[at + 7] = (data[at + 7] & 0x7D) | top << 7 | (number % 2 == 0) << 1 | 1
            data[at + 8] |= 0x80  # progressive_frame
        at = data.find(b"\0\0\1\xb5", at + 4)
    return bytes(data)


def test_two_ways_at_once_are_refused(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", FILM)
    assert lkdn_video(here, tmp_path / "b.mkv", "--ivtc", "--deinterlace", "bwdif") == 2
    assert capsys.readouterr().err.startswith("lkdn-video: ivtc: makes whole pictures itself")
