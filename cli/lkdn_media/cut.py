"""A part of a video: where it starts and ends, and what of the chapters falls into it."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Final

from lkdn_core.errors import ArgumentError
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.source import Source, Span
from lkdn_media.timecode import later_timecode

if TYPE_CHECKING:
    from av.container.core import Chapter

__all__ = ["cut", "cut_ticks", "without_timecode"]

#: Containers give the start of a file in whole microseconds.
_ROUNDING: Final = Fraction(1, 10**6)


def cut(
    source: Source,
    *,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    frames: int | None = None,
) -> Source:
    """``source`` from ``start`` to before ``end``, seconds as players count them.

    ``frames``: how many frames of the source at most. The part starts at the first frame shown at
    ``start`` or later. Raises ``ArgumentError`` where there is none.
    """
    if not start and end is None and frames is None:
        return source
    if end is not None and end <= start:
        raise ArgumentError(f"end: a time after start {_text(start)} is accepted, got {_text(end)}")
    base, origin = source.time_base, source.clock_start
    first = ceil((origin + start - _ROUNDING) / base)
    last = None if end is None else ceil((origin + end - _ROUNDING) / base)
    return cut_ticks(source, first, last, frames=frames)


def cut_ticks(source: Source, first: int, last: int | None, *, frames: int | None = None) -> Source:
    """``source`` from ``first`` to before ``last``, ticks of its time base; ``None``: to the end.

    ``frames``: how many frames of the source at most. The part starts at the first frame at
    ``first`` or later. Raises ``ArgumentError`` where there is none.
    """
    part = replace(source, span=Span(first, last))
    with closing(decode_pictures(part, Damage())) as pictures:  # type: ignore[type-var]
        opening = next(pictures, None)
        if opening is None:
            start, *end = [_shown(source, ticks) for ticks in (first, last) if ticks is not None]
            until = f"to {end[0]} s" if end else "on"
            raise ArgumentError(f"start: {source.path} shows no frame from {start} s {until}")
        if frames is not None:
            behind = [picture.pts for picture in islice(pictures, frames)]
            count = min(frames, 1 + len(behind))
            last = behind[-1] if len(behind) == frames else last
    span = Span(opening.pts, last)
    skipped = 0
    if first * source.time_base > source.clock_start:
        shown = opening.pts * source.time_base - source.clock_start
        skipped = round(shown * source.frame_rate)
    return replace(
        _with_timecode(source, skipped),
        span=span,
        frames=_count(source, span) if frames is None else count,
        declared_end=source.declared_end if last is None else None,
        chapters=tuple(_chapters(source, span)),
    )


def without_timecode(source: Source) -> Source:
    """``source`` without the tags that name the time of its first frame."""
    return _with_timecode(source, None)


def _with_timecode(source: Source, skipped: int | None) -> Source:
    """``source`` whose tags name the time of the frame behind so many, or none."""

    def timed(tags: Mapping[str, str]) -> dict[str, str]:
        moved = dict(tags)
        for name in [name for name in tags if name.lower() == "timecode"]:
            timecode = moved.pop(name)
            later = skipped and later_timecode(timecode, skipped, source.nominal_rate)
            if skipped is not None and (later or not skipped):
                moved[name] = later or timecode
        return moved

    streams = tuple(replace(stream, tags=timed(stream.tags)) for stream in source.streams)
    return replace(source, metadata=timed(source.metadata), streams=streams)


def _count(source: Source, span: Span) -> int:
    """About how many frames ``span`` holds, 0 when that is not known."""
    skipped = span.first * source.time_base - source.clock_start
    left = max(0, source.frames - round(skipped * source.frame_rate)) if source.frames else 0
    if span.end is None:
        return left
    expected = round((span.end - span.first) * source.time_base * source.frame_rate)
    return min(expected, left or expected)


def _chapters(source: Source, span: Span) -> "Iterator[Chapter]":
    """The chapters inside, cut to it and counted from its start."""
    for chapter in source.chapters:
        base = Fraction(chapter["time_base"].numerator, chapter["time_base"].denominator)
        first = round(span.first * source.time_base / base)
        last = chapter["end"]
        if span.end is not None:
            last = min(last, round(span.end * source.time_base / base))
        if last > max(chapter["start"], first):
            yield {**chapter, "start": max(0, chapter["start"] - first), "end": last - first}


def _shown(source: Source, ticks: int) -> str:
    """``ticks`` as players show them."""
    return _text(round(ticks * source.time_base - source.clock_start, 3))


def _text(seconds: Fraction) -> str:
    return f"{float(seconds):g}"
