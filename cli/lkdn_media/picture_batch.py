"""Many picture files one after another: read ahead, enlarged in batches, written behind."""

import logging
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final, NamedTuple

import av

from lkdn_core import Upscaler
from lkdn_core.errors import LKDNError
from lkdn_core.progress import Progress, portion
from lkdn_core.resize import FinalSize
from lkdn_media.files import followed, write_whole
from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import MAX_PIXELS, Still, read_still
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.picture_jobs import PictureJob
from lkdn_media.sizes import SizeChoice, choose_scale, final_size, size_warnings
from lkdn_media.stills import enlarge_stills
from lkdn_media.threads import read_ahead

__all__ = ["Outcome", "enlarge_files"]

log = logging.getLogger(__name__)
#: Pictures waiting on each side of the network.
WAITING: Final = 2
#: Packing PNG takes longer than a GPU needs for the picture.
WRITING_THREADS: Final = 4


#: The engine for a network and a scale.
UpscalerOf = Callable[[NetworkChoice, int], Upscaler]


class Outcome(NamedTuple):
    """What became of a job: ``error`` is ``None`` when the new file is there.

    ``network``: what it went through, ``None`` where it could not be read.
    """

    job: PictureJob
    error: LKDNError | None
    network: NetworkChoice | None


class _Read(NamedTuple):
    """A picture, the network it goes through with its scale, and the size it gets after that.

    ``notes``: what is to be said of that size.
    """

    job: PictureJob
    still: Still | None
    error: LKDNError | None
    network: NetworkChoice | None = None
    scale: int = 0
    size: FinalSize | None = None
    notes: tuple[str, ...] = ()


def enlarge_files(
    jobs: Sequence[PictureJob],
    upscaler_of: UpscalerOf,
    *,
    network_of: Callable[[Still], NetworkChoice],
    scales: Collection[int],
    size: SizeChoice,
    quality: Quality,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Do ``jobs``; yields each when it is done, failed ones too, in order.

    Each picture goes through the smallest of ``scales`` that reaches ``size``, or the largest where
    none is wished, of the network that ``network_of`` gives. ``upscaler_of`` gives the engine for a
    network and a scale; what it raises ends everything. Pictures of one size that follow each other
    share a batch where they have one network and its engine takes more than one. ``progress`` gets
    the share of all that is enlarged, as of `Upscaler.up`; what it raises ends everything. What the
    new format can't hold is logged as a warning.
    """
    writing: deque[Future[Outcome]] = deque()
    done = 0
    with (
        closing(read_ahead(_read(jobs, network_of, scales, size, max_pixels), WAITING)) as read,
        ThreadPoolExecutor(WRITING_THREADS) as writers,
    ):
        try:
            for group in _groups(read, upscaler_of):
                while len(writing) >= WRITING_THREADS + WAITING:
                    yield writing.popleft().result()
                first, done = done / len(jobs), done + len(group)
                share = portion(progress, first, done / len(jobs))
                items = _enlarged(group, upscaler_of, share)
                if share is not None:
                    share(1)
                for item in items:
                    writing.append(writers.submit(_write, item, quality))
            while writing:
                yield writing.popleft().result()
        finally:
            writers.shutdown(wait=True, cancel_futures=True)


def _read(
    jobs: Sequence[PictureJob],
    network_of: Callable[[Still], NetworkChoice],
    scales: Collection[int],
    size: SizeChoice,
    max_pixels: int,
) -> Iterator[_Read]:
    for job in jobs:
        try:
            still = read_still(job.source, max_pixels=max_pixels)
            yield _sized(job, still, network_of(still), scales, size)
        except LKDNError as error:
            yield _Read(job, None, error)
        except MemoryError:
            yield _Read(job, None, LKDNError(f"{job.source}: memory has no room for it"))


def _sized(
    job: PictureJob,
    still: Still,
    network: NetworkChoice,
    scales: Collection[int],
    choice: SizeChoice,
) -> _Read:
    try:
        scale = choose_scale(still, choice, scales)
        size = final_size(still, choice, scale=scale, multiples=(1, 1))
    except LKDNError as error:
        raise type(error)(f"{job.source}: {error}") from error
    notes = size_warnings(still, choice, size, scale=scale) if size else []
    sides = (size.width, size.height) if size else (scale * still.width, scale * still.height)
    writer, longest = WRITERS[job.target.suffix.lower()], max(sides)
    if longest > writer.max_side:
        raise LKDNError(
            f"{job.target}: would be {longest} pixels long, {writer.name} ends at "
            f"{writer.max_side}; .png does not"
        )
    return _Read(job, still, None, network, scale, size, tuple(notes))


def _groups(read: Iterable[_Read], upscaler_of: UpscalerOf) -> Iterator[list[_Read]]:
    """Neighbours that can share a batch."""
    group: list[_Read] = []
    for item in read:
        if group and not (_alike(group[0], item) and len(group) < _limit(group[0], upscaler_of)):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _alike(a: _Read, b: _Read) -> bool:
    if a.still is None or b.still is None:
        return False
    same_kind = a.still.pixels.dtype == b.still.pixels.dtype and _deep(a.job) == _deep(b.job)
    same_size = a.still.pixels.shape == b.still.pixels.shape and a.size == b.size
    return same_kind and same_size and (a.network, a.scale) == (b.network, b.scale)


def _limit(item: _Read, upscaler_of: UpscalerOf) -> int:
    assert item.still is not None and item.network is not None
    return upscaler_of(item.network, item.scale).frames_per_run(item.still.height, item.still.width)


def _deep(job: PictureJob) -> bool:
    return WRITERS[job.target.suffix.lower()].deep


def _enlarged(
    group: list[_Read], upscaler_of: UpscalerOf, progress: Progress | None
) -> list[_Read]:
    stills, first = [item.still for item in group if item.still is not None], group[0]
    if not stills:
        return group
    assert first.network is not None
    upscaler = upscaler_of(first.network, first.scale)
    for item, still in zip(group, stills, strict=True):
        writer = WRITERS[item.job.target.suffix.lower()]
        for line in (*item.notes, *still.losses, *writer.losses(still)):
            log.warning("warning: %s: %s", item.job.source, line)
    try:
        deep = _deep(first.job)
        new = enlarge_stills(stills, upscaler, deep=deep, size=first.size, progress=progress)
    except (LKDNError, MemoryError) as error:
        text = str(error) or "memory has no room for it"
        return [i._replace(still=None, error=LKDNError(f"{i.job.source}: {text}")) for i in group]
    return [item._replace(still=still) for item, still in zip(group, new, strict=True)]


def _write(item: _Read, quality: Quality) -> Outcome:
    job, still = item.job, item.still
    if still is None:
        return Outcome(job, item.error, item.network)
    writer = WRITERS[job.target.suffix.lower()]
    try:
        data = writer.encode(still, quality)
        write_whole(followed(job.target), data, overwrite=job.overwrite)
    except LKDNError as error:
        return Outcome(job, error, item.network)
    except (OSError, ValueError, MemoryError, struct.error, av.FFmpegError) as error:
        message = f"{job.target}: can't be written as {writer.name}: {error}"
        return Outcome(job, LKDNError(message), item.network)
    return Outcome(job, None, item.network)
