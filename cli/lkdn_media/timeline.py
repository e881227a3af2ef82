"""Timestamps that rise, whatever the source says, and when pictures are decoded for theirs."""

from collections.abc import Sequence

__all__ = ["Timeline", "decoding_time"]


class Timeline:
    """The timestamps of one stream, each at least ``step`` after the one before.

    Good timestamps are not touched; one that comes late is moved as little as possible and
    counted in ``moved``. ``end`` is where the next one is due.
    """

    def __init__(self, *, step: int) -> None:
        self._step = step
        self._least: int | None = None
        self.end = 0
        self.moved = 0

    def place(self, ticks: int | None, duration: int) -> int:
        """The place of the next frame or packet; one without a timestamp follows the last."""
        place = self.end if ticks is None else ticks
        if self._least is not None and place < self._least:
            place, self.moved = self._least, self.moved + 1
        self._least, self.end = place + self._step, place + max(duration, self._step)
        return place


def decoding_time(times: Sequence[int], turn: int, *, delay: int) -> int:
    """When the picture that is decoded as number ``turn`` is, ``delay`` pictures before its time.

    ``times``: when pictures are shown, rising. Before the first of them as much is left as the
    ``delay`` takes.
    """
    if turn >= delay:
        return times[turn - delay]
    return times[turn] - times[delay] + times[0]
