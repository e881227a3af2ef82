"""Real processes killed, stopped and starved of disk: what was done is kept, and counted once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lkdn_cli.video import main
from tests.cli.clips import Clip, make_clip
from tests.cli.media import copies
from tests.cli.test_bad_input import command, environment
from tests.cli.test_segments import packets

pytestmark = pytest.mark.slow
LENGTH = 40
FRAMES = 4 * LENGTH + 7


@dataclass
class Work:
    """A folder with a clip, and a command that enlarges it in segments."""

    folder: Path
    arguments: list[str]

    def start(self, *more: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command("in.mkv", "out.mkv", *self.arguments, *more),
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def finish(self, *more: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run it to its end: exit code, events, stderr."""
        with self.start("--json", *more) as process:
            out, said = process.communicate(timeout=120)
        return process.returncode, [json.loads(line) for line in out.splitlines()], said

    @property
    def job(self) -> Path:
        return self.folder / "out.mkv.lkdn"

    def kept(self) -> dict[str, int]:
        """The finished segments, and when they were written."""
        return {p.name: p.stat().st_mtime_ns for p in sorted(self.job.glob("[0-9]*.json"))}

    def unbroken(self) -> Path:
        """The result of a run without a break."""
        whole = self.folder / "whole.mkv"
        arguments = [a if a != "w.safetensors" else str(self.folder / a) for a in self.arguments]
        if not whole.exists():
            assert main([str(self.folder / "in.mkv"), str(whole), "-q", *arguments]) == 0
        return whole

    def check(self) -> None:
        """The result has the same packets as that of a run without a break."""
        whole, broken = self.unbroken(), self.folder / "out.mkv"
        assert packets(broken) == packets(whole)
        assert copies(broken) == copies(whole)
        assert len(packets(broken)) == FRAMES


@pytest.fixture
def work(tmp_path: Path, nearest: dict[int, Path]) -> Work:
    options = {"preset": "ultrafast", "qp": "20", "g": "25", "bf": "2"}
    clip = Clip(size=(96, 64), pts=range(FRAMES), options=options, audio=({},))
    make_clip(tmp_path / "in.mkv", clip)
    (tmp_path / "w.safetensors").write_bytes(nearest[2].read_bytes())
    fixed = [
        "--scale",
        "2",
        "--weights",
        "w.safetensors",
        "--device",
        "cpu",
        "--segment",
        str(LENGTH),
    ]
    # Two processes need not get the same packets from x264: on some CPUs they differ.
    return Work(tmp_path, [*fixed, "--backend", "reference", "--codec", "ffv1"])


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not happened():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.005)


@pytest.mark.posix  # which has a name for a file in the making
def test_kill_at_any_moment(work: Work) -> None:
    done: dict[str, int] = {}
    names = ["00001.json", "00003.packets", "end.json"]
    for moment in [work.job / name for name in names] + [work.folder / "out.mkv.part"]:
        with work.start() as process:
            wait_for(process, moment.exists)
            process.kill()
        assert not (work.folder / "out.mkv").exists()
        assert done.items() <= work.kept().items()  # never written again
        done = work.kept()
    assert len(done) == 5
    code, events, _ = work.finish()
    assert code == 0
    assert events[0] | {"event": "start", "resumed": FRAMES} == events[0]
    assert [e["event"] for e in events] == ["start", "done"]  # no frame was done again
    work.check()
    assert sorted(p.name for p in work.folder.iterdir()) == [
        "in.mkv",
        "out.mkv",
        "w.safetensors",
        "whole.mkv",
    ]


@pytest.mark.posix
def test_one_signal_finishes_the_segment(work: Work) -> None:
    with work.start("-q") as process:
        wait_for(process, (work.job / "00000.packets").exists)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert said.splitlines() == [
        "",
        "lkdn-video: interrupted: finishing the segment at hand; a second signal stops at once",
        f"lkdn-video: out.mkv: {LENGTH} frames kept in out.mkv.lkdn; "
        "the same command goes on from there",
        "lkdn-video: interrupted",
    ]
    assert list(work.kept()) == ["00000.json"]
    code, events, _ = work.finish()
    assert code == 0 and events[0]["resumed"] == LENGTH
    assert events[-1]["frames"] == FRAMES
    work.check()


@pytest.mark.posix
def test_a_second_signal_stops_at_once(work: Work) -> None:
    with work.start("-q", "--segment", "160") as process:
        wait_for(process, (work.job / "00000.packets").exists)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() + process.stderr.readline()  # it is told what is awaited
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (work.folder / "out.mkv").exists()


@pytest.mark.posix
def test_a_full_disk_keeps_what_is_done(work: Work) -> None:
    import resource

    limit = 40_000

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with work.start("-q", preexec_fn=starve) as process:
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said == "lkdn-video: out.mkv: can't be written: File too large\n"
    assert sorted(p.name for p in work.folder.iterdir()) == ["in.mkv", "w.safetensors"]
    whole = work.unbroken()
    limit = whole.stat().st_size * 3 // 4  # each segment fits, their sum does not
    with work.start("-q", preexec_fn=starve) as process:
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said.splitlines() == [
        f"lkdn-video: out.mkv: {FRAMES} frames kept in out.mkv.lkdn; "
        "the same command goes on from there",
        "lkdn-video: out.mkv: can't be written: File too large",
    ]
    assert sorted(p.name for p in work.folder.iterdir()) == [
        "in.mkv",
        "out.mkv.lkdn",
        "w.safetensors",
        "whole.mkv",
    ]
    code, events, _ = work.finish()
    assert code == 0 and events[0]["resumed"] == FRAMES
    work.check()
