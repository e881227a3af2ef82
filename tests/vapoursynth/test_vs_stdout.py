"""What is piped out of vspipe is the video and nothing else."""

import io
import sys
import threading
from pathlib import Path
from typing import Any

import av
import pytest

from lkdn_vapoursynth.stdout import stdout_to_stderr

SCRIPT = Path(__file__).with_name("scripts") / "noisy.vpy"


def test_a_pipe_stays_valid_while_the_model_prints_and_warns(run: Any, vspipe: Path) -> None:
    result = run(vspipe, "-c", "y4m", SCRIPT, "-", timeout=60)
    assert result.returncode == 0, result.stderr.decode()
    with av.open(io.BytesIO(result.stdout), format="yuv4mpegpipe") as container:
        sizes = [(f.width, f.height, f.format.name) for f in container.decode(video=0)]
    assert sizes == [(68, 52, "yuv420p")] * 9
    header, frame = result.stdout.index(b"\n") + 1, len(b"FRAME\n") + 68 * 52 * 3 // 2
    assert len(result.stdout) == header + 9 * frame
    assert result.stderr.count(b"printed while running") == 9
    for text in (b"printed while loading", b"written while loading", b"warned while running"):
        assert text in result.stderr


def test_other_threads_print_where_they_did(capsys: pytest.CaptureFixture[str]) -> None:
    usual = sys.stdout
    with stdout_to_stderr(), stdout_to_stderr():
        print("ours")
        other = threading.Thread(target=print, args=("theirs",))
        other.start()
        other.join()
    assert sys.stdout is usual
    print("after")
    assert capsys.readouterr() == ("theirs\nafter\n", "ours\n")


def test_without_a_console_there_is_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with stdout_to_stderr():
        assert sys.stdout is None  # which ``print`` knows
        print("nowhere")
    assert sys.stdout is None


def test_overlapping_calls_leave_the_usual_stdout() -> None:
    usual = sys.stdout
    with stdout_to_stderr():
        first = threading.Event()
        last = threading.Event()

        def work() -> None:
            with stdout_to_stderr():
                first.set()
                last.wait(10)

        thread = threading.Thread(target=work)
        thread.start()
        first.wait(10)
    assert sys.stdout is not usual  # the other thread's call is still under way
    last.set()
    thread.join()
    assert sys.stdout is usual
