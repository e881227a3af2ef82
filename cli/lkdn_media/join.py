"""Segments of a video joined into a file, beside the streams that are copied."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av

from lkdn_core.errors import LKDNError
from lkdn_media.damage import Damage
from lkdn_media.plan import Plan
from lkdn_media.segments import Segment, read_segment
from lkdn_media.timeline import decoding_time
from lkdn_media.writer import VideoWriter

__all__ = ["join"]


def join(
    plan: Plan,
    parts: Iterable[tuple[Segment, Path]],
    path: Path,
    *,
    progress: Callable[[], object],
) -> Damage:
    """Write ``parts``, segments by record and file of packets, to the new file ``path``.

    ``parts`` is gone through twice, one part at a time. ``progress`` is called after each packet.
    Returns what was wrong with streams that are copied. Raises ``LKDNError``.
    """
    writer = VideoWriter(plan, path)
    try:
        times, delay = _times(parts, writer.extradata.hex())
        for packet in _packets(parts, times, delay):
            packet.time_base = plan.filters.time_base
            writer.mux([packet])
            progress()
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return writer.damage


def _times(parts: Iterable[tuple[Segment, Path]], extradata: str) -> "tuple[array[int], int]":
    """When each picture is shown, in order, and how far decoding has to be ahead of that."""
    times, delay = array("q"), 0
    for segment, path in parts:
        if segment.extradata != extradata:
            raise LKDNError(f"{path}: was written by another encoder; --restart starts over")
        times.extend(segment.times)
        delay = max(delay, segment.delay)
    return times, min(delay, len(times) - 1)


def _packets(
    parts: Iterable[tuple[Segment, Path]], times: "array[int]", delay: int
) -> "Iterator[av.Packet[Any]]":
    """All packets with their times: decoding runs ``delay`` pictures ahead of display."""
    turn = start = 0
    for segment, path in parts:
        for rank, packet in read_segment(segment, path):
            packet.pts = times[start + rank]
            packet.dts = decoding_time(times, turn, delay=delay)
            yield packet
            turn += 1
        start = turn
