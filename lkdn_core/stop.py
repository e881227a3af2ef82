"""Ending a network's work on a picture before it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import addressof, c_int32
from threading import Event, Thread
from typing import Final

__all__ = ["Stop", "watched"]

#: Seconds between two questions whether to stop.
_PAUSE: Final = 0.25


class Stop:
    """Set by one thread, ends the work of another.

    ``address``: that of an int32 which is 0 until then.
    """

    def __init__(self) -> None:
        self._flag = c_int32(0)
        self.address = addressof(self._flag)

    def __bool__(self) -> bool:
        return self._flag.value != 0

    def set(self) -> None:
        """End the work."""
        self._flag.value = 1


@contextmanager
def watched(check: Callable[[], object] | None) -> Iterator[Stop | None]:
    """A stop that is set when ``check`` raises, which a thread calls a few times a second.

    What it raised is raised here at the end.
    """
    if check is None:
        yield None
        return
    stop, over, raised = Stop(), Event(), list[BaseException]()

    def watch() -> None:
        while not over.wait(_PAUSE):
            try:
                check()
            except BaseException as error:  # of any kind: it is the caller's
                raised.append(error)
                stop.set()
                return

    thread = Thread(target=watch, name="lkdn-watch", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]
