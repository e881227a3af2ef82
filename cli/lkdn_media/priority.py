"""Keeps an encoder's threads at ordinary priority."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["ordinary_priority"]

_TASKS: Final = Path("/proc/self/task")


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Undo what code inside does to the scheduling of this thread and of those it starts.

    Where it may (as root), SVT-AV1 makes both real-time threads (``SCHED_FIFO``), and on few cores
    nothing else runs then. Does nothing on other systems than Linux.
    """
    before = _real_time()
    try:
        yield
    finally:
        for task in _real_time() - before:
            with suppress(OSError):  # it may have ended
                os.sched_setscheduler(task, os.SCHED_OTHER, os.sched_param(0))


def _real_time() -> set[int]:
    """The threads of this process that are real-time ones."""
    found = set[int]()
    if sys.platform != "linux" or not _TASKS.is_dir():
        return found
    for task in [int(entry.name) for entry in _TASKS.iterdir()]:
        with suppress(OSError):
            if os.sched_getscheduler(task) in {os.SCHED_FIFO, os.SCHED_RR}:
                found.add(task)
    return found
