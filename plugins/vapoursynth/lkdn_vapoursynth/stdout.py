"""Keeps what our code prints off stdout, where a script's video may be going (``vspipe ... -``)."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

__all__ = ["stdout_to_stderr"]


class _ThisThread(threading.local):
    depth = 0  # of stdout_to_stderr


_this_thread: Final = _ThisThread()
_lock: Final = threading.RLock()


class _Divided:
    """Stands in for ``sys.stdout``: our threads' text goes to stderr, anyone else's where it went.

    The script's own threads may print at the same time, and that is none of our business.
    """

    def __init__(self, script: TextIO) -> None:
        self.script = script
        self.users = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if _this_thread.depth else self.script, name)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """While this runs, ``print`` in the calling thread writes to stderr."""
    if sys.stdout is None:  # a program without a console: ``print`` knows, a stand-in would not
        yield
        return
    _this_thread.depth += 1
    with _lock:
        current: Any = sys.stdout
        ours = current if isinstance(current, _Divided) else _Divided(current)
        ours.users += 1
        sys.stdout = ours
    try:
        yield
    finally:
        _this_thread.depth -= 1
        with _lock:
            ours.users -= 1
            # Someone else may have replaced it in between; then it is theirs.
            if not ours.users and sys.stdout is ours:
                sys.stdout = ours.script
