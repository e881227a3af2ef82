"""The pictures of a source from the middle on, exactly as an unbroken run would have had them."""

import logging
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from itertools import dropwhile, islice
from typing import Final

import av
import numpy as np

from lkdn_core.errors import LKDNError
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.job import Job
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.segments import Mark, Segment

__all__ = ["marked", "pictures_after"]

log = logging.getLogger(__name__)
#: In seconds, how far to seek before the place that is looked for: transport streams have no index,
#: and may not have a keyframe where they are entered.
_MARGINS: Final = (0, 10)


def marked(
    pictures: Iterable[Picture], damage: Damage, marks: deque[Mark], *, length: int
) -> Iterator[Picture]:
    """``pictures``; gives ``marks`` one for every ``length`` of them and one for those left."""
    left = 0
    for picture in pictures:
        left = (left + 1) % length
        if not left:
            marks.append(Mark(_checksum(picture), replace(damage)))
        yield picture
    if left:
        marks.append(Mark(_checksum(picture), replace(damage)))


def pictures_after(job: Job, plan: Plan, damage: Damage) -> Iterator[Picture]:
    """The pictures that are in no segment yet; ``damage`` is told about the source up to its end.

    Seeks to where the last segment began and decodes that again, which must give the same times
    and the same last picture. Where it doesn't, or the source is damaged, decodes from the start.
    Raises ``LKDNError`` where even that gives other pictures than before.
    """
    last = job.last
    if last is None:
        return decode_pictures(plan.source, damage, plan.filters)
    # Dropped frames are counted in fives from the start.
    seekable = not last.mark.damage and not plan.filters.drops
    for margin in _MARGINS if seekable else ():
        try:
            return _sought(plan, last, damage, margin)
        except _ElsewhereError as reason:
            log.info("%s: seeking for %d frames: %s", plan.source.path, job.frames, reason)
    _reset(damage)
    return _skipped(plan, job.frames, last, damage)


class _ElsewhereError(Exception):
    """Seeking did not lead where it should."""


def _sought(plan: Plan, last: Segment, damage: Damage, margin: int) -> Iterator[Picture]:
    first = last.times[0]
    start = first * plan.filters.time_base - margin
    try:
        pictures = decode_pictures(plan.source, damage, plan.filters, start=start)
        again = dropwhile(lambda picture: picture.pts < first, pictures)
        picture = next(again, None)
        _reset(damage)  # what a keyframe leans on may be missing, but comes before
        for pts in last.times:
            if picture is None or picture.pts != pts:
                raise _ElsewhereError(f"a frame at {picture and picture.pts}, not at {pts}")
            checked, picture = picture, next(again, None) if pts != last.times[-1] else None
    except (av.FFmpegError, OSError, ValueError, LKDNError) as error:
        raise _ElsewhereError(str(error)) from error
    if damage:
        raise _ElsewhereError(str(damage))
    if _checksum(checked) != last.mark.checksum:
        raise _ElsewhereError(f"another picture at {last.times[-1]}")
    return pictures


def _skipped(plan: Plan, frames: int, last: Segment, damage: Damage) -> Iterator[Picture]:
    pictures = decode_pictures(plan.source, damage, plan.filters)
    latest = deque(islice(pictures, frames), maxlen=1)
    if not latest or _checksum(latest[0]) != last.mark.checksum:
        raise LKDNError(f"{plan.source.path}: decodes differently now; --restart starts over")
    return pictures


def _checksum(picture: Picture) -> int:
    checksum = 0
    for plane in picture.planes:
        checksum = zlib.crc32(np.ascontiguousarray(plane), checksum)
    return checksum


def _reset(damage: Damage) -> None:
    for field in fields(Damage):
        setattr(damage, field.name, field.default)
