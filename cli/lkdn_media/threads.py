"""Reading ahead and writing behind, each in a thread of its own with bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread

__all__ = ["read_ahead", "write_behind"]


class _Closed(Exception):
    """The other side of a channel has gone."""


class _Channel[T]:
    """A queue of at most ``depth`` items between two threads.

    ``end`` lets what is under way arrive; after ``drop`` both sides get ``_Closed``.
    """

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._ended = False  # no more items will come
        self._dropped = False  # nobody wants them any more
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Wait for room and append ``item``."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._depth or self._dropped)
            if self._dropped:
                raise _Closed
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended)
                if self._dropped:
                    raise _Closed
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def end(self) -> None:
        """Say that no more items come; those under way still arrive."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def drop(self) -> None:
        """Say that no more items are wanted."""
        with self._changed:
            self._ended = self._dropped = True
            self._items.clear()
            self._changed.notify_all()


class _Worker(Thread):
    """A thread that keeps the exception it ended with."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except _Closed:
            pass
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Wait for the thread and raise what it raised."""
        self.join()
        if self._error is not None:
            raise self._error


def read_ahead[T](items: Iterable[T], depth: int) -> Generator[T]:
    """Yield ``items``, at most ``depth`` of them ahead of time. Closing the generator stops it."""
    channel: _Channel[T] = _Channel(depth)

    def work() -> None:
        try:
            for item in items:
                channel.put(item)
        finally:
            channel.end()

    worker = _Worker(work)
    try:
        yield from channel
        worker.finish()
    finally:
        channel.drop()
        worker.join()


@contextmanager
def write_behind[T](
    consume: Callable[[Iterable[T]], None], depth: int
) -> Iterator[Callable[[T], None]]:
    """Give a function that hands an item to ``consume``, which runs in a thread.

    Leaving the block waits until all is consumed; leaving it by an exception drops what waits.
    What ``consume`` raises is raised in the block.
    """
    channel: _Channel[T] = _Channel(depth)

    def work() -> None:
        try:
            consume(channel)
        finally:
            channel.drop()

    worker = _Worker(work)
    try:
        yield channel.put
        channel.end()
        worker.finish()
    except _Closed:
        worker.finish()
        raise
    finally:
        channel.drop()
        worker.join()
