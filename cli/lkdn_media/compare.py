"""Pairs of pictures for the before/after page: the source by bicubic, and what was written."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import pad

from lkdn_core.quantize import quantize
from lkdn_core.resize import FinalSize
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.demux import JOINED
from lkdn_media.filters import FilterChain
from lkdn_media.image_writers import WRITERS, as_shown
from lkdn_media.images import read_still
from lkdn_media.pictures import rgb_of
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.probe import probe
from lkdn_media.report import Pair, Row, render_report
from lkdn_media.sizes import Fit
from lkdn_media.source import Source
from lkdn_media.upright import upright

__all__ = ["compare_stills", "compare_video"]

#: Moments of a video that are shown.
MOMENTS: Final = 4


def compare_video(plan: Plan, target: Path, *, frames: int, rate: float) -> str:
    """The page for ``plan``, ``frames`` of which went to ``target`` at ``rate`` a second."""
    new = probe(target)
    source, pairs = plan.source, []
    beginnings = _first(source, plan.filters), _first(new)
    count = min(MOMENTS, max(frames, 1))
    for number in range(count):
        # The middle of a picture's time: a container may round where it begins.
        shown = max(frames, 1) * (2 * number + 1) // (2 * count)
        after_start = (shown + Fraction(1, 2)) / new.frame_rate
        old_picture = _at(source, beginnings[0] + after_start, plan.filters)
        new_picture = _at(new, beginnings[1] + after_start)
        before = _bicubic(_codes(rgb_of(old_picture, source)), plan)
        pairs.append(
            Pair(
                upright(before, source),
                upright(_codes(rgb_of(new_picture, new)), new),
                _clock(after_start),
                _shape(new),
            )
        )
    rows: list[Row] = [
        ("File", source.path.name, target.name),
        ("Pictures", _size(source), _size(new)),
        ("Codec", source.stream.codec, new.stream.codec),
        ("Samples", source.pix_fmt, new.pix_fmt),
        ("Frame rate", f"{float(source.frame_rate):g} fps", f"{float(new.frame_rate):g} fps"),
        ("File size", _bytes(source.path), _bytes(target)),
        ("Speed of enlarging", "", f"{rate:.2f} frames/s"),
    ]
    return render_report(f"{source.path.name} x{plan.scale}", rows, pairs)


def compare_stills(files: Sequence[tuple[Path, Path]], *, scale: int | None, fit: Fit) -> str:
    """The page for picture files (source, new), enlarged ``scale`` times, if all were alike.

    ``fit``: how they came into their size, see `lkdn_media.sizes`.
    """
    pairs, rows = [], []
    brought = ImageOps.fit if fit == "cover" else Image.Image.resize
    for source, target in files:
        old, new = _open(source), _open(target)
        before = brought(old, new.size, Image.Resampling.BICUBIC)
        pairs.append(Pair(np.asarray(before), np.asarray(new), source.name))
        what = "Picture" if len(files) == 1 else source.name
        rows.append(
            (
                what,
                f"{old.width}x{old.height}, {_bytes(source)}",
                f"{new.width}x{new.height} {WRITERS[target.suffix.lower()].name}, {_bytes(target)}",
            )
        )
    name = files[0][0].name if len(files) == 1 else f"{len(files)} pictures"
    return render_report(f"{name} x{scale}" if scale else name, rows, pairs)


def _first(source: Source, filters: FilterChain | None = None) -> Fraction:
    """When the first picture is shown, in seconds."""
    base = filters.time_base if filters else source.time_base
    return next(decode_pictures(source, Damage(), filters)).pts * base


def _at(source: Source, seconds: Fraction, filters: FilterChain | None = None) -> Picture:
    """The picture shown at ``seconds``."""
    base, shown = filters.time_base if filters else source.time_base, None
    # Where it can't be sought, or that leads too far, from the start.
    seekable = source.container not in JOINED and not (filters and filters.drops)
    for start in (seconds, None) if seekable else (None,):
        for picture in decode_pictures(source, Damage(), filters, start=start):
            if picture.pts * base > seconds:
                break
            shown = picture
        if shown is not None:
            return shown
    return next(decode_pictures(source, Damage(), filters))


def _codes(rgb: Tensor) -> NDArray[Any]:
    """RGB (1, 3, H, W) in [0, 1] as (H, W, 3) uint8."""
    array: NDArray[Any] = quantize(rgb[0] * 255, bits=8).movedim(0, -1).numpy()
    return array


def _bicubic(pixels: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """``pixels`` of the source as large as those of ``plan``, without a network."""
    rgb = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255
    height, width = (side * plan.scale for side in pixels.shape[:2])
    large = FinalSize(width=width, height=height).apply(rgb)
    if plan.size is not None:
        large = plan.size.apply(large)
    missing = plan.enlarged[0] - large.shape[-1], plan.enlarged[1] - large.shape[-2]
    return _codes(pad(large, (0, missing[0], 0, missing[1]), mode="replicate"))


def _shape(source: Source) -> float:
    """Width of a pixel as it is shown, by its height."""
    shape = float(source.sample_aspect_ratio or 1)
    return 1 / shape if source.sideways else shape


def _open(path: Path) -> Image.Image:
    # Neither is a bomb: the one was accepted, the other is ours.
    return as_shown(read_still(path, max_pixels=2**62)).convert("RGB")


def _clock(seconds: Fraction) -> str:
    minutes, rest = divmod(float(seconds), 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:06.3f}"


def _size(source: Source) -> str:
    return f"{source.width}x{source.height}"


def _bytes(path: Path) -> str:
    """How large the file is; nothing for pictures that stand for a video."""
    if not path.is_file():
        return ""
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
