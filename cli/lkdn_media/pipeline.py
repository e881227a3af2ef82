"""A video file enlarged: read ahead, upscale, write behind, each in a thread of its own."""

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError
from lkdn_media.alpha import enlarge_alpha, fill_hidden_planes
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.files import check_free, part_file, part_of, writing_to
from lkdn_media.losses import caption_losses
from lkdn_media.pipes import PIPE, PIPE_FORMATS, stdout_video
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture, Planes
from lkdn_media.sequences import SequenceWriter, check_sequence
from lkdn_media.source import Source
from lkdn_media.targets import PICTURES, is_pattern
from lkdn_media.threads import read_ahead, write_behind
from lkdn_media.upright import upright
from lkdn_media.verify import verify
from lkdn_media.writer import VideoWriter

__all__ = [
    "READ_AHEAD",
    "WRITE_BEHIND",
    "Result",
    "check_paths",
    "enlarge",
    "noting_losses",
    "upscale_video",
]

log = logging.getLogger(__name__)
#: Pictures waiting on each side of the network: small ones before it, large ones after.
READ_AHEAD = 8
WRITE_BEHIND = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What was written. ``damage``: what was wrong with the source; false for a sound one."""

    frames: int
    damage: Damage


def check_paths(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse an output that is the input, a folder, or there already. Raises ``ArgumentError``."""
    if target == PIPE:
        return
    for path in (target, part_of(target)):
        if os.path.exists(path) and os.path.exists(source) and path.samefile(source):
            raise ArgumentError(f"output: {target} would overwrite the input {source}")
    if is_pattern(target):
        check_sequence(source, target, overwrite=overwrite)
        return
    if target.is_dir():
        raise ArgumentError(f"output: {target} is a folder; pictures go to {target}/%05d.png")
    check_free(target, overwrite=overwrite)


def upscale_video(
    plan: Plan,
    target: Path,
    upscaler: Upscaler,
    *,
    progress: Callable[[], object],
    overwrite: bool = False,
    check: Callable[[], object] | None = None,
) -> Result:
    """Enlarge ``plan.source`` into ``target``, which appears only when it is whole.

    A file that is there then, whenever it came, is replaced only with ``overwrite``.

    ``progress`` is called, in the calling thread, after each frame handed to the encoder,
    ``check`` in another, before each tile and on a CPU a few times a second; what they raise ends
    the work. Raises ``LKDNError``; then, as after any other exception, ``target`` is what it was
    before.
    """
    with _writer(plan, target, overwrite=overwrite) as writer:
        return _upscale(plan, writer, upscaler, progress, check)


class Writer(Protocol):
    """Takes enlarged pictures one by one. After an error `abandon` takes the place of `finish`."""

    @property
    def frames(self) -> int:
        """How many pictures it got."""

    @property
    def damage(self) -> Damage:
        """What was wrong with all that is copied beside the pictures."""

    def write(self, picture: Picture) -> None:
        """Take one picture."""

    def finish(self) -> None:
        """Write what is left."""

    def abandon(self) -> None:
        """Leave it as it is."""


@contextmanager
def _writer(plan: Plan, target: Path, *, overwrite: bool) -> Iterator[Writer]:
    """What writes ``plan`` to ``target``, by the kind of it."""
    if plan.container == PICTURES:
        with writing_to(target):
            writer = SequenceWriter(plan, target, overwrite=overwrite)
            try:
                yield writer
            except BaseException:  # before the first picture too
                writer.abandon()
                raise
    elif target == PIPE:
        shape = plan.sample_aspect_ratio if plan.container == PIPE_FORMATS["y4m"] else None
        with stdout_video(shape) as pipe:
            yield VideoWriter(plan, target, pipe=pipe)
    else:
        with part_file(target, overwrite=overwrite) as part:
            video = VideoWriter(plan, part)
            yield video
            verify(part, video.frames)


def _upscale(
    plan: Plan,
    writer: Writer,
    upscaler: Upscaler,
    progress: Callable[[], object],
    check: Callable[[], object] | None,
) -> Result:
    damage = Damage()

    def write(pictures: Iterable[Picture]) -> None:
        try:
            for picture in pictures:
                writer.write(picture)
            writer.finish()
        except BaseException:
            writer.abandon()
            raise

    def decoded() -> Iterator[Picture]:
        return noting_losses(decode_pictures(plan.source, damage, plan.filters), plan)

    with (
        closing(read_ahead(decoded(), READ_AHEAD)) as pictures,
        write_behind(write, WRITE_BEHIND) as put,
        closing(enlarge(pictures, plan, upscaler, check)) as enlarged,
    ):
        for picture in enlarged:
            put(picture)
            progress()
    damage.include(writer.damage)
    return Result(writer.frames, damage)


def enlarge(
    pictures: Iterable[Picture],
    plan: Plan,
    upscaler: Upscaler,
    check: Callable[[], object] | None = None,
) -> Generator[Picture]:
    """The network's output with all else of its input, which it keeps in order."""
    inside: deque[Picture] = deque()

    def planes() -> Iterator[Planes]:
        for picture in pictures:
            inside.append(replace(picture, planes=()))
            yield _visible(picture, plan)

    stream = upscaler.stream(
        planes(),
        plan.input_format,
        out_format=plan.output_format,
        size=plan.size,
        progress=None if check is None else lambda share: check(),
    )
    for enlarged in stream:
        picture = inside.popleft()
        new = replace(picture, planes=enlarged, alpha=_alpha(picture, plan, upscaler))
        yield _turned(new, plan.source) if plan.upright else new


def _turned(picture: Picture, source: Source) -> Picture:
    planes = [upright(plane, source) for plane in picture.planes]
    alpha = None if picture.alpha is None else upright(picture.alpha, source)
    return replace(picture, planes=planes, alpha=alpha)


def noting_losses(pictures: Iterable[Picture], plan: Plan) -> Iterator[Picture]:
    """``pictures``; says what is lost of what was not seen yet when ``plan`` was made."""
    captions = [] if plan.source.captions else caption_losses(plan.codec, plan.filters)
    known = set(plan.source.unkept)
    for picture in pictures:
        lines = captions if picture.carrier is not None else []
        new = [name for name in picture.unkept if name not in known]
        if lines or new:
            lines = lines + [f"{name} can't be kept" for name in new]
            log.warning("warning: %s: %s", plan.source.path, "; ".join(lines))
            captions = [] if picture.carrier is not None else captions
            known.update(new)
        yield picture


def _visible(picture: Picture, plan: Plan) -> Planes:
    """The planes of ``picture`` without colours that its alpha, if it is kept, hides."""
    if picture.alpha is None or not plan.alpha:
        return picture.planes
    planes = [plane[None] for plane in picture.planes]
    filled = fill_hidden_planes(planes, picture.alpha[None], bits=plan.input_format.bits)
    return [plane[0] for plane in filled]


def _alpha(picture: Picture, plan: Plan, upscaler: Upscaler) -> NDArray[Any] | None:
    if picture.alpha is None or not plan.alpha:
        return None
    bits, new_bits = plan.input_format.bits, plan.output_format.bits
    new = enlarge_alpha(picture.alpha[None], bits, new_bits, upscaler, size=plan.size)
    alpha: NDArray[Any] = new[0]
    return alpha
