"""How far the work on a picture is, told while it goes on; it may be ended before it is done."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from ctypes import addressof, c_int64
from threading import Thread
from typing import Final

__all__ = ["Progress", "Work", "attended", "portion"]

#: Called with the share of the work that is done, from 0 to 1.
Progress = Callable[[float], object]

#: Seconds between two calls while one tile is worked on.
_PAUSE: Final = 0.25


def portion(progress: Progress | None, first: float, last: float) -> Progress | None:
    """What tells ``progress`` of a part of the work, from the share ``first`` to ``last``."""
    if progress is None:
        return None
    return lambda share: progress(first + share * (last - first))


class Work:
    """What a thread at work on so many input ``pixels`` and another that attends to it share.

    ``address``: that of two int64. Once the first is not 0 the work may end early; to the second
    are added the pixels that are done.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels, self._numbers = pixels, (c_int64 * 2)()
        self.address = addressof(self._numbers)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return min(1, self._numbers[1] / self._pixels)

    @property
    def stopped(self) -> bool:
        """Whether it should end."""
        return self._numbers[0] != 0

    def stop(self) -> None:
        """End it."""
        self._numbers[0] = 1


def attended(
    run: Callable[[Work | None], object], progress: Progress | None, *, pixels: int
) -> None:
    """Do ``run`` in a thread of its own, while ``progress`` is called in this one.

    ``pixels``: of the input, as often as the network gets them. What ``progress`` raises ends the
    work. Without it there is no other thread, and no `Work`.
    """
    if progress is None:
        run(None)
        return
    work, end = Work(pixels), Future[object]()

    def finish() -> None:
        try:
            end.set_result(run(work))
        except BaseException as error:  # of any kind: it is the caller's
            end.set_exception(error)

    # A daemon's thread is a daemon too, and does not keep a server from ending.
    thread = Thread(target=finish, name="lkdn-work")
    thread.start()
    try:
        while not wait([end], _PAUSE).done:
            progress(work.share)
    except BaseException:
        work.stop()
        raise
    finally:
        thread.join()
    end.result()
