"""A long video enlarged in segments, so that a run that was broken off can go on."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import chain, islice

from lkdn_core import Upscaler
from lkdn_media.damage import Damage
from lkdn_media.files import part_file, writing_to
from lkdn_media.job import Job
from lkdn_media.join import join
from lkdn_media.pipeline import (
    READ_AHEAD,
    WRITE_BEHIND,
    Result,
    enlarge,
    noting_losses,
)
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.resume import marked, pictures_after
from lkdn_media.segments import Mark, SegmentWriter
from lkdn_media.threads import read_ahead, write_behind
from lkdn_media.verify import verify

__all__ = ["segment_length", "upscale_segments"]

#: Pictures in a segment: no more than encoders have from keyframe to keyframe anyway, and a
#: multiple of usual batches.
_LENGTH = 240
#: On a CPU a segment is this many pixels of the source, some minutes of work, but not less than
#: the least length, since each one starts with a keyframe.
_CPU_PIXELS = 10**8
_LEAST = 48


def segment_length(plan: Plan, *, device: str) -> int:
    """How many pictures to put into a segment, so that breaking off costs some minutes at most."""
    if device != "cpu":
        return _LENGTH
    pixels = plan.source.width * plan.source.height
    return max(_LEAST, min(_LENGTH, _CPU_PIXELS // pixels))


def upscale_segments(
    plan: Plan,
    job: Job,
    upscaler: Upscaler,
    *,
    length: int,
    progress: Callable[[], object],
    stop: Callable[[], bool],
    overwrite: bool = False,
) -> Result:
    """Enlarge ``plan.source`` into ``job.target``, ``length`` pictures in a segment.

    What ``job`` holds already is not done again; the result is the same with and without a break.
    ``progress`` is called after each frame handed to the encoder. When ``stop()`` becomes true, the
    segment at hand is finished and ``KeyboardInterrupt`` raised. A file that is there at the end is
    replaced only with ``overwrite``. Raises ``LKDNError``.
    """
    damage = job.end
    if damage is None:
        with writing_to(job.target):
            damage = _fill(plan, job, upscaler, length=length, progress=progress, stop=stop)
    if damage is None:
        raise KeyboardInterrupt
    job.check_source(plan.source.path)  # all but the pictures is read from it now
    with part_file(job.target, overwrite=overwrite) as part:
        copied = join(plan, job.parts(), part, progress=lambda: _give_way(stop))
        verify(part, job.frames)
        job.seal(part)
    damage.include(copied)
    result = Result(job.frames, damage)
    job.clear()
    return result


def _give_way(stop: Callable[[], bool]) -> None:
    if stop():
        raise KeyboardInterrupt


def _fill(
    plan: Plan,
    job: Job,
    upscaler: Upscaler,
    *,
    length: int,
    progress: Callable[[], object],
    stop: Callable[[], bool],
) -> Damage | None:
    """Make the segments that ``job`` lacks; ``None`` when stopped before the last of them."""
    damage = Damage()
    left = noting_losses(pictures_after(job, plan, damage), plan)
    marks = deque[Mark]()
    source = marked(left, damage, marks, length=length)

    def write(pictures: Iterable[Picture]) -> None:
        pictures = iter(pictures)
        for first in pictures:
            writer = SegmentWriter(plan, job.packets())
            try:
                for picture in chain([first], islice(pictures, length - 1)):
                    writer.write(picture)
                job.add(writer.finish(marks.popleft()))
            finally:
                writer.close()

    with (
        closing(read_ahead(source, READ_AHEAD)) as pictures,
        write_behind(write, WRITE_BEHIND) as put,
    ):
        while (first := next(pictures, None)) is not None:
            if stop():
                return None
            # A batch ends with its segment: after a break it would begin there too.
            segment = chain([first], islice(pictures, length - 1))
            with closing(enlarge(segment, plan, upscaler)) as enlarged:
                for picture in enlarged:
                    put(picture)
                    progress()
    job.end = damage
    return damage
