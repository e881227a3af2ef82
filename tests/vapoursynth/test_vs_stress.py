"""Stress, each case in a process with a time limit, so that a hang or a crash fails."""

import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).with_name("scripts")


def succeeds(run: Any, script: str, *arguments: str, timeout: float) -> None:
    result = run(sys.executable, SCRIPTS / script, *arguments, timeout=timeout)
    assert (result.returncode, result.stdout.splitlines()) == (0, [b"ok"]), result.stderr.decode()


def test_every_way_to_ask_for_frames(run: Any) -> None:
    succeeds(run, "access.py", "1", timeout=90)


def test_clips_dropped_in_flight(run: Any) -> None:
    succeeds(run, "dropped.py", "30", timeout=60)


def test_environments_made_and_destroyed(run: Any) -> None:
    succeeds(run, "environments.py", timeout=60)


@pytest.mark.slow
def test_for_longer(run: Any) -> None:
    succeeds(run, "access.py", "8", timeout=400)
    succeeds(run, "dropped.py", "400", timeout=400)
