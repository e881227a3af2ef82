"""The user's own ffmpeg program, for what PyAV's build can't do."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO, Final

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = ["FfmpegProcess", "find_ffmpeg"]

log = logging.getLogger(__name__)
#: Names the program where ``--ffmpeg`` doesn't.
VARIABLE: Final = "LKDN_FFMPEG"
#: How much of what it says is kept.
_LINES: Final = 20


def find_ffmpeg(named: str | None, *, needed_by: str) -> str:
    """The path of ffmpeg: ``named``, or by ``LKDN_FFMPEG``, or on the PATH.

    Raises ``ArgumentError`` that says what is lost without it, and where to get it.
    """
    wanted = named or os.environ.get(VARIABLE) or "ffmpeg"
    found = shutil.which(wanted)
    if found is None:
        raise ArgumentError(
            f"ffmpeg: {needed_by} needs the program, and {wanted!r} is none; install FFmpeg "
            f"(ffmpeg.org, or your system's packages), or name it with --ffmpeg or {VARIABLE}"
        )
    return str(Path(found).absolute())


class FfmpegProcess:
    """A running ffmpeg. What it says is read all the time: a full pipe would stop it.

    ``arguments``: all, the program first; no shell sees them. Ctrl-C is left to us.
    """

    def __init__(self, arguments: Sequence[str], *, feed: bool = False) -> None:
        log.info("running %s", " ".join(arguments))
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows' own
        )
        self._lines: list[str] = []
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def input(self) -> IO[bytes]:
        """Where it reads."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def output(self) -> IO[bytes]:
        """Where it writes."""
        assert self._process.stdout is not None
        return self._process.stdout

    def finish(self) -> None:
        """Wait for its end. Raises ``LKDNError`` with its own words where it failed."""
        code = self._process.wait()
        self._listener.join()
        if code:
            raise LKDNError(f"ffmpeg: {self.words() or f'ended with {code}'}")
        for line in self._lines:
            _warn(line)

    def words(self) -> str:
        """The first line it said; the rest follows from it."""
        self._listener.join(1)
        return self._lines[0] if self._lines else ""

    def abandon(self) -> None:
        """Stop it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as words:
            for line in words:
                # Without the address of whatever speaks.
                text = re.sub(r"^(\[.*? @ \w+\] )+", "", line.decode(errors="replace").strip())
                if text and len(self._lines) < _LINES:
                    self._lines.append(text)


@cache  # some encoders introduce themselves each time
def _warn(line: str) -> None:
    log.warning("ffmpeg: %s", line)
