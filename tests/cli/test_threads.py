"""Reading ahead and writing behind: order, bounds, and errors that cross threads."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from lkdn_media.threads import read_ahead, write_behind


def test_items_come_in_order_through_both() -> None:
    done: list[int] = []
    with write_behind(done.extend, 2) as put:
        for item in read_ahead(range(100), 3):
            put(item)
    assert done == list(range(100))


def test_reading_ahead_is_bounded() -> None:
    read: list[int] = []
    full = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            if number == 4:
                full.set()  # one out, three waiting, one at the door
            yield number

    before = threading.active_count()
    with closing(read_ahead(numbers(), 3)) as ahead:
        assert next(ahead) == 0
        assert full.wait(10)
        assert not threading.Event().wait(0.05)  # it would read on now, if it could
        assert read == [0, 1, 2, 3, 4]
    assert threading.active_count() == before


def test_an_error_while_reading_comes_after_what_was_read() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    ahead = read_ahead(numbers(), 3)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(ahead)


def test_an_error_while_writing_reaches_the_block() -> None:
    def consume(items: Iterable[int]) -> None:
        for item in items:
            if item == 3:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), write_behind(consume, 2) as put:
        for number in range(1000):
            put(number)


def test_an_error_in_the_block_stops_the_writer() -> None:
    ended: list[str] = []

    def consume(items: Iterable[int]) -> None:
        try:
            for _ in items:
                pass
            ended.append("whole")
        finally:
            ended.append("stopped")

    with pytest.raises(KeyError), write_behind(consume, 2) as put:
        put(1)
        raise KeyError
    assert ended == ["stopped"]
