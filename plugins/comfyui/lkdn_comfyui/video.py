"""ComfyUI's VIDEO through the engine, from file to file in constant memory. No ComfyUI in here."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from lkdn_core import Upscaler
from lkdn_media.cut import cut_ticks
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.pipeline import upscale_video
from lkdn_media.plan import Plan, make_plan
from lkdn_media.probe import probe
from lkdn_media.sizes import SizeChoice

__all__ = ["CODECS", "Window", "plan_video", "upscale_to"]

log = logging.getLogger(__name__)
#: What MP4 holds and browsers or players show.
CODECS: Final = ("h264", "hevc", "av1")
#: Frames that x264 keeps. Its defaults take 600 MB at 2560x1440, these take 160.
_X264_FRAMES: Final = {"rc-lookahead": "2", "bf": "1", "refs": "2"}
#: ComfyUI saves no packet without a decoding time, and the first ones in Matroska have none before
#: B-frames.
_NO_B_FRAMES: Final = {"bf": "0"}


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a video that a graph means, in seconds; a ``duration`` of 0 is to the end."""

    start: float = 0.0
    duration: float = 0.0

    def __bool__(self) -> bool:
        return self.start > 0 or self.duration > 0

    def ticks(self, time_base: Fraction) -> tuple[int, int | None]:
        """First timestamp inside and first one after, counted as ComfyUI counts them."""
        end = int((self.start + self.duration) / time_base) if self.duration else None
        return int(self.start / time_base), end


def plan_video(
    path: Path,
    *,
    scale: int,
    choice: EncoderChoice,
    window: Window,
    size: SizeChoice | None = None,
) -> Plan:
    """How ``window`` of the file at ``path`` is enlarged into a new one, of ``size``.

    MP4, which browsers show, unless Matroska alone holds the sound. What is lost is logged, but for
    pictures whose format ``choice`` names. Raises ``LKDNError``, also where ``window`` holds no
    frame.
    """
    source = probe(path)
    if window:
        source = cut_ticks(source, *window.ticks(source.time_base))

    def planned(container: str) -> Plan:
        target = Path(f"video.{container}")
        return make_plan(source, target, scale=scale, choice=choice, size=size)

    plan = planned("mp4")
    if not _copies_sound(plan) and _copies_sound(matroska := planned("mkv")):
        plan = matroska
    if choice.pix_fmt == "auto":  # else a graph made the frames, and their file is finer than they
        for warning in plan.warnings:
            log.warning("%s: %s", path.name, warning)
    options = plan.options | (_X264_FRAMES if plan.codec == "libx264" else {})
    if plan.container == "matroska" and plan.codec in ("libx264", "libx265"):
        options |= _NO_B_FRAMES
    return replace(plan, options=options)


def _copies_sound(plan: Plan) -> bool:
    sound = (stream.index for stream in plan.source.streams if stream.kind == "audio")
    return all(plan.copied.get(index, "") is None for index in sound)


def upscale_to(
    target: Path,
    plan: Plan,
    upscaler: Upscaler,
    *,
    progress: Callable[[], object],
    check: Callable[[], object] | None = None,
) -> Path:
    """Enlarge ``plan.source`` into a new file, ``target`` with the ending of its container.

    ``progress`` is called after each frame, ``check`` between and meanwhile; when one raises,
    nothing of the file is left. Damage of the source is logged. Raises ``LKDNError``.
    """
    target = target.with_suffix(".mkv" if plan.container == "matroska" else f".{plan.container}")
    result = upscale_video(plan, target, upscaler, progress=progress, check=check)
    if result.damage:
        log.warning("%s: %s", plan.source.path.name, result.damage)
    return target
