"""Ctrl-C, SIGTERM and SIGHUP: the first one ends the work in good order, the second one at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lkdn_cli import OURS, leave

__all__ = ["Interrupts"]


class Interrupts:
    """What was asked for by signals while `caught`."""

    def __init__(self) -> None:
        #: Whether the work should end where it can go on later.
        self.requested = False
        self._patient = self._seen = False
        self._hint = ""

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take the signals over, in the main thread; there are none in others."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = [signal.SIGINT, signal.SIGTERM]
        hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
        # Where it is ignored, nohup wants the work to go on.
        if hangup and signal.getsignal(hangup) is not signal.SIG_IGN:
            kinds.append(hangup)
        before = {kind: signal.signal(kind, self._handle) for kind in kinds}
        try:
            yield
        finally:
            # A second signal ends a command at once up to its very end.
            if not (self._seen and OURS):
                for kind, handler in before.items():
                    signal.signal(kind, handler)

    @contextmanager
    def patient(self, hint: str) -> Iterator[None]:
        """Inside, the first signal sets `requested` and says ``hint``; elsewhere it raises."""
        self._hint, self._patient = hint, True
        try:
            yield
        finally:
            self._patient = False

    def _handle(self, kind: int, frame: FrameType | None) -> None:
        if self._seen:
            # Threads may be deep in the network or the encoder.
            leave()
        self._seen = True
        if not self._patient:
            raise KeyboardInterrupt
        self.requested = True
        # Not through sys.stderr, which may be in the middle of a line; it may be gone, too.
        with suppress(OSError):
            os.write(2, f"\n{self._hint}\n".encode())
