"""ComfyUI's VIDEO through the engine, from file to file in constant memory. No ComfyUI in here."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from lkdn_comfyui.clip import join
from lkdn_core import Upscaler
from lkdn_core.errors import LKDNError
from lkdn_media.decode import Damage, Picture, Planes, decode_pictures
from lkdn_media.encode import VideoWriter
from lkdn_media.encoders import EncoderChoice
from lkdn_media.pipeline import upscale_video
from lkdn_media.plan import Plan, make_plan
from lkdn_media.probe import Source, probe

__all__ = ["Window", "count_frames", "plan_video", "upscale_to"]

log = logging.getLogger(__name__)
#: Frames that x264 keeps. Its defaults take 600 MB at 2560x1440, these take 160.
_X264_FRAMES: Final = {"rc-lookahead": "2", "bf": "1", "refs": "2"}


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a video that a graph means, in seconds; a ``duration`` of 0 is to the end."""

    start: float = 0.0
    duration: float = 0.0

    def __bool__(self) -> bool:
        return self.start > 0 or self.duration > 0

    def ticks(self, time_base: Fraction) -> tuple[int, float]:
        """First timestamp inside and first one after, counted as ComfyUI counts them."""
        end = int((self.start + self.duration) / time_base) if self.duration else math.inf
        return int(self.start / time_base), end


def plan_video(path: Path, target: Path, *, scale: int, choice: EncoderChoice) -> Plan:
    """How the file at ``path`` is written to ``target``, whose ending is then the plan's business.

    MP4, which browsers show, unless it can't hold the sound; then Matroska. Raises ``LKDNError``.
    """
    source = probe(path)
    sound = [s.index for s in source.streams if s.kind == "audio"]
    for ending in (".mp4", ".mkv"):
        plan = make_plan(source, target.with_suffix(ending), scale=scale, choice=choice)
        if all(index in plan.copied for index in sound):
            break
    for warning in plan.warnings:
        log.warning("%s: %s", path.name, warning)
    if plan.codec == "libx264":
        return replace(plan, options=plan.options | _X264_FRAMES)
    return plan


def count_frames(source: Source, window: Window) -> int:
    """About how many frames ``window`` holds, 0 when that is not known."""
    if not window:
        return source.frames
    rate = float(source.frame_rate)
    left = max(0, source.frames - int(window.start * rate))
    wanted = math.ceil(window.duration * rate) or left
    return min(wanted, left) if left else wanted


def upscale_to(
    folder: Path,
    plan: Plan,
    upscaler: Upscaler,
    *,
    name: str,
    window: Window,
    progress: Callable[[], object],
) -> Path:
    """Enlarge ``plan.source``, or the ``window`` of it, into a new file ``name`` in ``folder``.

    Sound is copied, for a window by whole packets; timestamps are the source's, a window starts at
    0. ``progress`` is called after each frame; when it raises, nothing of the file is left.
    Raises ``LKDNError``.
    """
    target = folder / f"{name}.{'mkv' if plan.container == 'matroska' else plan.container}"
    if not window:
        result = upscale_video(plan, target, upscaler, progress=progress)
        if result.damage:
            log.warning("%s: %s", plan.source.path.name, result.damage)
        return target
    silent = target.with_stem(f"{name}-pictures")
    try:
        start, end = _upscale_window(plan, silent, upscaler, window=window, progress=progress)
        join(silent, plan, target, start=start, end=end)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        silent.unlink(missing_ok=True)
    return target


def _upscale_window(
    plan: Plan, path: Path, upscaler: Upscaler, *, window: Window, progress: Callable[[], object]
) -> tuple[Fraction, float]:
    """Write the pictures of ``window`` alone; returns where it starts and ends, in seconds."""
    base = plan.filters.time_base
    first, end = window.ticks(base)
    damage = Damage()
    times: deque[tuple[int, int]] = deque()
    starts: list[int] = []

    def planes() -> Iterator[Planes]:
        with closing(decode_pictures(plan.source, damage, plan.filters)) as pictures:  # type: ignore[type-var]
            for picture in pictures:
                if picture.pts >= end:
                    return
                if picture.pts >= first:
                    if not starts:
                        starts.append(picture.pts)
                    times.append((picture.pts - starts[0], picture.duration))
                    yield picture.planes

    alone = replace(plan, copied=(), source=replace(plan.source, chapters=()))
    writer = VideoWriter(alone, path)
    try:
        stream = upscaler.stream(planes(), plan.input_format, out_format=plan.output_format)
        with closing(stream) as pictures:  # type: ignore[type-var]
            for enlarged in pictures:
                writer.write(Picture(enlarged, *times.popleft()))
                progress()
        if not starts:
            raise LKDNError(f"{plan.source.path.name}: has no frame at {window.start:g} s or later")
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return starts[0] * base, float(end * base)
