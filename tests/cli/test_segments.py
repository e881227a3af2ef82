"""Long jobs in segments: broken off anywhere, they go on, and nobody can tell from the result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media import resume
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.filters import FilterChain
from lkdn_media.job import Job, identity, was_finished
from lkdn_media.pipeline import upscale_video
from lkdn_media.plan import Plan, make_plan
from lkdn_media.probe import probe
from lkdn_media.segmented import segment_length, upscale_segments
from lkdn_media.segments import is_whole, read_segment
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies, durations, frames, planes, times

LENGTH = 6
#: Keyframes far apart and pictures out of order, so that cuts fall between them.
X264 = {"qp": "20", "preset": "veryfast", "g": "9", "bf": "2", "sc_threshold": "0"}
VFR = Clip(
    time_base=Fraction(1, 1000),
    pts=tuple(np.cumsum([33, 17, 70, 1, 79, 90, 40, 41] * 3).tolist()),
    durations=tuple([17, 70, 1, 79, 90, 40, 41, 33] * 3),
    audio=({"language": "deu"},),
    chapters=((0, 100, "eins"), (100, 300, "zwei")),
    options=X264,
)
OPEN_GOP = X264 | {"x264-params": "open-gop=1"}
INTERLACED = X264 | {"flags": "+ilme+ildct", "x264-params": "interlaced=1:tff=1"}
TS = Fraction(1, 90000)


class Stopped(BaseException):
    """The end of a run that is broken off."""


@pytest.fixture(scope="session")
def upscaler(untrained: Path) -> Upscaler:
    return Upscaler(scale=2, weights=untrained, device="cpu")


def plan_for(source: Path, target: Path, **choice: Any) -> Plan:
    options: dict[str, Any] = {"codec": "libx264", "preset": "ultrafast", "crf": 20.0}
    return make_plan(probe(source), target, scale=2, choice=EncoderChoice(**(options | choice)))


def job_for(plan: Plan, target: Path, **engine: object) -> Job:
    return Job(target, identity(plan, segment=LENGTH, engine=engine), restart=False)


def run(plan: Plan, target: Path, upscaler: Upscaler, *, limit: int = 10**9) -> int:
    """Work on the job of ``target``, break off after ``limit`` frames; returns how many it did."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done > limit:
            raise Stopped

    with job_for(plan, target) as job:
        try:
            upscale_segments(plan, job, upscaler, length=LENGTH, progress=step, stop=lambda: False)
        except Stopped:
            return done - 1
    return done


def packets(path: Path) -> list[tuple[bytes, int | None, int | None, int | None, bool]]:
    """All there is to know about the packets of the first video stream."""
    with av.open(str(path)) as container:
        return [
            (bytes(p), p.pts, p.dts, p.duration, p.is_keyframe)
            for p in container.demux(container.streams.video[0])
            if p.size
        ]


def open_ts(path: Path) -> Path:
    """Two recordings one after the other: the clock starts again in the middle."""
    part = make_clip(path.with_name("part.ts"), Clip(time_base=TS, pts=range(0, 43200, 3600)))
    path.write_bytes(part.read_bytes() * 2)
    return path


def damaged(path: Path) -> Path:
    """Motion JPEG with one picture of zeros."""
    clip = Clip(size=(64, 48), codec="mjpeg", pix_fmt="yuvj420p", options={}, pts=range(26))
    make_clip(path, clip)
    with av.open(str(path)) as container:
        third = [p for p in container.demux(video=0) if p.size][3]
    data = bytearray(path.read_bytes())
    data[third.pos : third.pos + third.size] = bytes(third.size)
    path.write_bytes(data)
    return path


def of(clip: Clip) -> Callable[[Path], Path]:
    return lambda path: make_clip(path, clip)


SOURCES = {
    "vfr.mkv": of(VFR),
    "edited.mp4": of(Clip(pts=range(-3, 25), audio=({},), audio_start=-1024, options=X264)),
    "open.mp4": of(Clip(pts=range(26), options=OPEN_GOP)),
    "one_keyframe.mkv": of(Clip(pts=range(26), options=X264 | {"g": "999"})),
    "plain.ts": of(Clip(time_base=TS, pts=range(0, 90000, 3600), options=X264)),
    "joined.ts": open_ts,
    "bare.h264": of(Clip(pts=range(26), options=X264)),
    "fields.mkv": of(Clip(size=(48, 48), pts=range(26), options=INTERLACED)),
    "damaged.avi": damaged,
    "just.mkv": of(Clip(pts=range(4 * LENGTH), options=X264)),
}


QUICK = ("vfr.mkv", "joined.ts", "damaged.avi")
MARKED = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SOURCES]


@pytest.mark.parametrize("name", MARKED)
def test_a_break_does_not_show(
    tmp_path: Path, upscaler: Upscaler, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_the_start: list[int] = []
    skipped = resume._skipped
    monkeypatch.setattr(
        resume, "_skipped", lambda p, n, *rest: from_the_start.append(n) or skipped(p, n, *rest)
    )
    source = SOURCES[name](tmp_path / name)
    whole, broken, single = (tmp_path / f"{n}.mkv" for n in ("whole", "broken", "single"))
    plan = plan_for(source, whole)
    count = run(plan, whole, upscaler)
    assert count == len(times(whole)) >= 20
    done = [run(plan, broken, upscaler, limit=limit) for limit in (LENGTH + 4, LENGTH + 2, 999)]
    # The writer is a few pictures behind what was handed over: at most one segment more is lost.
    assert sum(done) <= count + 2 * (LENGTH + 4)
    assert done[-1] <= count - LENGTH
    assert packets(broken) == packets(whole)
    assert copies(broken) == copies(whole)
    # Where times or pictures are not to be relied on, seeking isn't either.
    assert bool(from_the_start) == (name in ("bare.h264", "damaged.avi"))
    assert upscale_video(plan, single, upscaler, progress=lambda: None).frames == count
    with av.open(str(broken)) as new, av.open(str(single)) as old:
        assert new.streams.video[0].average_rate == old.streams.video[0].average_rate
    assert times(broken) == times(single)
    assert durations(broken) == durations(single)
    assert copies(broken) == copies(single)
    assert list(tmp_path.glob("*.lkdn")) == list(tmp_path.glob("*.part")) == []


def test_the_pictures_are_those_of_one_pass(tmp_path: Path, upscaler: Upscaler) -> None:
    source = make_clip(tmp_path / "a.mkv", Clip(pts=range(15), options=X264))
    plan = plan_for(source, tmp_path / "out.mkv", codec="ffv1", crf=None, preset=None)
    run(plan, tmp_path / "broken.mkv", upscaler, limit=LENGTH + 3)
    run(plan, tmp_path / "broken.mkv", upscaler)
    upscale_video(plan, tmp_path / "single.mkv", upscaler, progress=lambda: None)
    pairs = zip(frames(tmp_path / "broken.mkv"), frames(tmp_path / "single.mkv"), strict=True)
    for segmented, single in pairs:
        for left, right in zip(planes(segmented), planes(single), strict=True):
            assert np.array_equal(left, right)


ENCODERS = {
    "libx265": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "libsvtav1": {"codec": "libsvtav1", "preset": "12", "crf": 40.0},
    "libvpx-vp9": {"codec": "libvpx-vp9", "preset": None},
    "prores_ks": {"codec": "prores_ks", "preset": None, "crf": None},
    "mpeg4": {"codec": "mpeg4", "preset": None, "crf": None, "bitrate": 10**6},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_every_encoder_joins(tmp_path: Path, upscaler: Upscaler, name: str, ending: str) -> None:
    if (name, ending) in (("prores_ks", "mp4"), ("libvpx-vp9", "mov"), ("libsvtav1", "mov")):
        pytest.skip(f"{ending} can't hold {name}")
    size = (68, 52) if name in ("libx265", "libsvtav1") else (34, 26)
    source = make_clip(tmp_path / "a.mkv", replace(VFR, size=size))
    target = tmp_path / f"out.{ending}"
    plan = plan_for(source, target, **ENCODERS[name])
    run(plan, target, upscaler, limit=LENGTH + 3)
    run(plan, target, upscaler)
    upscale_video(plan, tmp_path / f"single.{ending}", upscaler, progress=lambda: None)
    single = tmp_path / f"single.{ending}"
    assert times(target) == times(single)
    assert len(frames(target)) == len(VFR.pts)
    decoded = [dts for _, _, dts, _, _ in packets(target) if dts is not None]
    assert all(later > earlier for earlier, later in pairwise(decoded))
    assert copies(target) == copies(single)
    with av.open(str(target)) as new, av.open(str(single)) as old:
        assert new.streams.video[0].codec_context.extradata == (
            old.streams.video[0].codec_context.extradata
        )


@pytest.fixture
def begun(tmp_path: Path, upscaler: Upscaler) -> tuple[Plan, Path]:
    """A job that was broken off in its second segment."""
    source = make_clip(tmp_path / "a.mkv", Clip(pts=range(20), options=X264))
    target = tmp_path / "out.mkv"
    plan = plan_for(source, target)
    assert run(plan, target, upscaler, limit=LENGTH + 5) == LENGTH + 5
    return plan, target


def test_other_settings_are_refused(begun: tuple[Plan, Path]) -> None:
    plan, target = begun
    folder = target.with_name("out.mkv.lkdn")
    kept = sorted(p.name for p in folder.iterdir())
    assert "00000.json" in kept
    other = plan_for(plan.source.path, target, crf=30.0)
    with pytest.raises(ArgumentError, match=r"crf=20 .*then, .*crf=30 .*now.*--restart"):
        job_for(other, target)
    with pytest.raises(ArgumentError, match=r"precision: None then, bf16 now"):
        job_for(plan, target, precision="bf16")
    assert sorted(p.name for p in folder.iterdir()) == kept
    with Job(target, identity(other, segment=LENGTH, engine={}), restart=True) as job:
        assert job.frames == 0
    assert not folder.exists()


def test_warnings_are_no_settings(begun: tuple[Plan, Path]) -> None:
    plan, target = begun
    other = replace(plan, warnings=(*plan.warnings, "the picture is squeezed"))
    with Job(target, identity(other, segment=LENGTH, engine={}), restart=False) as job:
        assert job.frames >= LENGTH  # begun anew it would have none


def test_the_command_refuses_other_settings_in_one_line(
    begun: tuple[Plan, Path], lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, target = begun
    options = ["--segment", str(LENGTH), "--crf", "30"]
    assert lkdn_video(plan.source.path, target, *options) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"lkdn-video: output: {target}.lkdn holds the beginning of another job")
    assert said.count("\n") == 1
    assert lkdn_video(plan.source.path, target, *options, "--restart", "-q") == 0
    assert len(times(target)) == 20
    assert not target.with_name("out.mkv.lkdn").exists()


def test_another_source_is_refused(begun: tuple[Plan, Path]) -> None:
    plan, target = begun
    before = plan.source.path.stat()
    data = bytearray(plan.source.path.read_bytes())
    data[-5] ^= 1
    plan.source.path.write_bytes(data)
    os.utime(plan.source.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArgumentError, match="the source has changed"):
        job_for(plan, target)


def test_only_one_process_works_on_a_job(begun: tuple[Plan, Path]) -> None:
    plan, target = begun
    with (
        job_for(plan, target),
        pytest.raises(LKDNError, match="another process is writing it"),
    ):
        job_for(plan, target)
    with job_for(plan, target) as job:
        assert job.frames >= LENGTH


def test_a_changed_segment_is_made_anew(
    begun: tuple[Plan, Path], upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    plan, target = begun
    file = target.with_name("out.mkv.lkdn") / "00000.packets"
    whole = file.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with job_for(plan, target) as job:
        assert job.frames == 0
        assert "00000.packets: is damaged, and made anew from there on" in caplog.text
    run(plan, target, upscaler)
    assert len(times(target)) == 20


def test_a_segment_that_changes_meanwhile_does_not_get_into_the_result(
    begun: tuple[Plan, Path], upscaler: Upscaler
) -> None:
    plan, target = begun
    with job_for(plan, target) as job:
        ((segment, path), *_) = job.parts()
        assert is_whole(segment, path)
        path.write_bytes(bytes(segment.bytes))
        assert not is_whole(segment, path)
        with pytest.raises(LKDNError, match="was changed after it was written"):
            list(read_segment(segment, path))
    assert not target.exists()


def test_a_file_in_the_way_of_the_folder_is_named(begun: tuple[Plan, Path], tmp_path: Path) -> None:
    (tmp_path / "new.mkv.lkdn").touch()
    with pytest.raises(LKDNError, match=r"new\.mkv: can't be written: .*new\.mkv\.lkdn is in the"):
        job_for(begun[0], tmp_path / "new.mkv")


def test_a_kill_between_the_last_steps_is_mended(
    begun: tuple[Plan, Path], upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, target = begun

    def killed(_: Job) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Job, "clear", killed)
        run(plan, target, upscaler)
    assert len(times(target)) == 20
    source = plan.source.path
    assert not was_finished(make_clip(source.with_name("other.mkv")), target)
    assert was_finished(source, target)
    assert not was_finished(source, target)
    assert list(target.parent.glob("*.lkdn")) == []


def test_dropped_frames_are_counted_from_the_start(
    begun: tuple[Plan, Path], upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of telecined film one frame of five is left out, so nothing is sought there."""
    plan, target = begun

    def sought(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("lkdn_media.resume._sought", sought)
    monkeypatch.setattr(FilterChain, "drops", True)
    run(plan, target, upscaler)
    assert len(times(target)) == 20


def test_somebody_elses_files_stay(tmp_path: Path, upscaler: Upscaler) -> None:
    source = make_clip(tmp_path / "a.mkv", Clip(pts=range(8)))
    folder = tmp_path / "out.mkv.lkdn"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    run(plan_for(source, tmp_path / "out.mkv"), tmp_path / "out.mkv", upscaler)
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


def test_segments_are_minutes_of_work(tmp_path: Path) -> None:
    plan = plan_for(make_clip(tmp_path / "a.mkv"), tmp_path / "b.mkv")
    assert segment_length(plan, device="cuda") == segment_length(plan, device="cpu") == 240
    large = replace(plan, source=replace(plan.source, width=1920, height=1080))
    assert segment_length(large, device="cpu") == 48


def test_damage_before_a_break_is_told_after_it(
    tmp_path: Path, lkdn_video: Command, upscaler: Upscaler, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = damaged(tmp_path / "a.avi"), tmp_path / "b.mkv"
    assert lkdn_video(source, target, "--segment", str(LENGTH), "--json") == 3
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events if e["event"] != "progress"] == ["start", "done", "warning"]
    assert events[-2]["damage"] == "1 packet could not be decoded"
    plan = plan_for(source, target)
    run(plan, tmp_path / "c.mkv", upscaler, limit=LENGTH + 3)
    with job_for(plan, tmp_path / "c.mkv") as job:
        step: Callable[[], None] = lambda: None  # noqa: E731
        result = upscale_segments(
            plan, job, upscaler, length=LENGTH, progress=step, stop=lambda: False
        )
    assert str(result.damage) == "1 packet could not be decoded"


def test_a_name_as_long_as_they_get(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its folder has a shorter one, of its own."""
    source = make_clip(tmp_path / "a.mkv")
    first, second = (tmp_path / f"{'y' * 250}{end}.mkv" for end in "ab")
    for target in (first, second):
        with job_for(plan_for(source, target), target) as job:
            assert job.folder.parent == tmp_path and job.folder.is_dir()
            assert job.folder.name.endswith(".lkdn") and len(job.folder.name) < 256
            assert len(list(tmp_path.glob("*.lkdn"))) == 1
        assert lkdn_video(source, target, "--segment", "3") == 0
    assert sorted(tmp_path.iterdir()) == [source, first, second]
    assert lkdn_video(source, first, "--segment", "3") == 2
    assert "is there already" in capsys.readouterr().err
