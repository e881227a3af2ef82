"""Many picture files one after another: read ahead, enlarged in batches, written behind."""

import logging
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import av

from lkdn_core import Upscaler
from lkdn_core.errors import LKDNError
from lkdn_media.files import write_whole
from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import MAX_PIXELS, Still, read_still
from lkdn_media.picture_jobs import Job
from lkdn_media.stills import enlarge_stills
from lkdn_media.threads import read_ahead

__all__ = ["Outcome", "enlarge_files"]

log = logging.getLogger(__name__)
#: Pictures waiting on each side of the network.
WAITING: Final = 2
#: Packing PNG takes longer than a GPU needs for the picture.
WRITING_THREADS: Final = 4


class Outcome(NamedTuple):
    """What became of a job: ``error`` is ``None`` when the new file is there."""

    job: Job
    error: LKDNError | None


class _Read(NamedTuple):
    job: Job
    still: Still | None
    error: LKDNError | None


def enlarge_files(
    jobs: Sequence[Job],
    upscaler: Upscaler,
    *,
    quality: Quality,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Outcome]:
    """Do ``jobs``; yields each when it is done, failed ones too, in order.

    Pictures of one size that follow each other share a batch where the engine takes more than one.
    What the new format can't hold is logged as a warning.
    """
    writing: deque[Future[Outcome]] = deque()
    with (
        closing(read_ahead(_read(jobs, upscaler.scale, max_pixels), WAITING)) as read,
        ThreadPoolExecutor(WRITING_THREADS) as writers,
    ):
        try:
            for group in _groups(read, upscaler):
                while len(writing) >= WRITING_THREADS + WAITING:
                    yield writing.popleft().result()
                for item in _enlarged(group, upscaler):
                    writing.append(writers.submit(_write, item, quality))
            while writing:
                yield writing.popleft().result()
        finally:
            writers.shutdown(wait=True, cancel_futures=True)


def _read(jobs: Sequence[Job], scale: int, max_pixels: int) -> Iterator[_Read]:
    for job in jobs:
        try:
            still = read_still(job.source, max_pixels=max_pixels)
            _check_side(still, job.target, scale)
        except LKDNError as error:
            yield _Read(job, None, error)
        except MemoryError:
            yield _Read(job, None, LKDNError(f"{job.source}: memory has no room for it"))
        else:
            yield _Read(job, still, None)


def _check_side(still: Still, target: Path, scale: int) -> None:
    writer, side = WRITERS[target.suffix.lower()], scale * max(still.pixels.shape[:2])
    if side > writer.max_side:
        raise LKDNError(
            f"{target}: would be {side} pixels long, {writer.name} ends at {writer.max_side}; "
            ".png does not"
        )


def _groups(read: Iterable[_Read], upscaler: Upscaler) -> Iterator[list[_Read]]:
    """Neighbours that can share a batch."""
    group: list[_Read] = []
    for item in read:
        if group and not (_alike(group[0], item) and len(group) < _limit(group[0], upscaler)):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _alike(a: _Read, b: _Read) -> bool:
    if a.still is None or b.still is None:
        return False
    same_kind = a.still.pixels.dtype == b.still.pixels.dtype and _deep(a.job) == _deep(b.job)
    return same_kind and a.still.pixels.shape == b.still.pixels.shape


def _limit(item: _Read, upscaler: Upscaler) -> int:
    assert item.still is not None
    return upscaler.frames_per_run(*item.still.pixels.shape[:2])


def _deep(job: Job) -> bool:
    return WRITERS[job.target.suffix.lower()].deep


def _enlarged(group: list[_Read], upscaler: Upscaler) -> list[_Read]:
    stills = [item.still for item in group if item.still is not None]
    if not stills:
        return group
    for item, still in zip(group, stills, strict=True):
        for loss in (*still.losses, *WRITERS[item.job.target.suffix.lower()].losses(still)):
            log.warning("warning: %s: %s", item.job.source, loss)
    try:
        new = enlarge_stills(stills, upscaler, deep=_deep(group[0].job))
    except (LKDNError, MemoryError) as error:
        text = str(error) or "memory has no room for it"
        return [_Read(i.job, None, LKDNError(f"{i.job.source}: {text}")) for i in group]
    return [_Read(i.job, still, None) for i, still in zip(group, new, strict=True)]


def _write(item: _Read, quality: Quality) -> Outcome:
    job, still = item.job, item.still
    if still is None:
        return Outcome(job, item.error)
    writer = WRITERS[job.target.suffix.lower()]
    try:
        write_whole(job.target, writer.encode(still, quality))
    except LKDNError as error:
        return Outcome(job, error)
    except (OSError, ValueError, MemoryError, struct.error, av.FFmpegError) as error:
        message = f"{job.target}: can't be written as {writer.name}: {error}"
        return Outcome(job, LKDNError(message))
    return Outcome(job, None)
