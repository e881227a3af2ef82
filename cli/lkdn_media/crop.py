"""Edges cut off the pictures: as the user says, or where they are black."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from struct import Struct
from typing import Final

import numpy as np

from lkdn_core.errors import ArgumentError, FormatError
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.formats import PLANAR
from lkdn_media.planes import Picture, Planes
from lkdn_media.source import Crop, Source
from lkdn_media.upright import turning, upright

__all__ = ["black_edges", "cropped", "without_edges"]

#: In how many places a video is looked into.
_MOMENTS: Final = 16
#: How far above black the mean of a black row or column may be, in codes of 8 bits.
_NOISE: Final = 8
_BLACK: Final = {"limited": 16, "full": 0}
#: FFmpeg's top, bottom, left and right.
_CONTAINERS: Final = Struct("<4I")
#: The sides of a picture, and where they are in it.
_PLACES: Final = {"top": (0, 1), "left": (1, 0), "right": (1, 2), "bottom": (2, 1)}


def cropped(source: Source, crop: Crop) -> Source:
    """``source`` without what ``crop`` cuts off its sides, as these are shown.

    Raises ``ArgumentError`` where nothing is left, or a chroma sample would be cut in two.
    """
    sides = asdict(crop)
    stored = Crop(**{side: sides[shown] for shown, side in _sides(source).items()})
    if not _leaves_some(source, stored):
        size = f"{source.width}x{source.height}"
        raise ArgumentError(f"crop: less than all of {size} is accepted, got {crop}")
    wide, high = _chroma(source)
    for side, step in (("left", wide), ("top", high)):
        if asdict(stored)[side] % step:  # where chroma samples begin
            accepted = f"multiples of {step} are accepted with {source.layout}"
            raise ArgumentError(f"crop: {_sides(source)[side]}: {accepted}, got {crop}")
    return _without(source, stored)


def without_edges(source: Source, frame_cropping: bytes) -> Source:
    """``source`` without what its container hides, as FFmpeg's ``AV_PKT_DATA_FRAME_CROPPING``.

    As far as these are whole chroma samples; with all of it where nothing would be left.
    """
    if len(frame_cropping) != _CONTAINERS.size:
        return source
    top, bottom, left, right = _CONTAINERS.unpack(frame_cropping)
    try:
        wide, high = _chroma(source)
    except FormatError:  # told where the pictures are to be read
        return source
    stored = Crop(left // wide * wide, right, top // high * high, bottom)
    return _without(source, stored) if _leaves_some(source, stored) else source


def black_edges(source: Source) -> Crop:
    """How much of each side, as it is shown, is black in all pictures that were looked at.

    In whole chroma samples. Raises ``ArgumentError`` where ``source`` can't be read twice.
    """
    if not source.frames:
        accepted = "auto needs a file whose length is known"
        raise ArgumentError(f"crop: {accepted}, got {source.path}; left=8,top=60 names sides")
    wide, high = _chroma(source)
    left, top, right, bottom = source.width, source.height, 0, 0
    for picture in _pictures(source):
        box = _bright(picture.planes, source)
        left, top = min(left, box[0]), min(top, box[1])
        right, bottom = max(right, box[2]), max(bottom, box[3])
        if not left and not top and (right, bottom) == (source.width, source.height):
            break
    if left >= right:  # nothing but black
        return Crop()
    stored = {
        "left": left // wide * wide,
        "top": top // high * high,
        "right": (source.width - right) // wide * wide,
        "bottom": (source.height - bottom) // high * high,
    }
    return Crop(**{shown: stored[side] for shown, side in _sides(source).items()})


def _leaves_some(source: Source, stored: Crop) -> bool:
    return stored.left + stored.right < source.width and stored.top + stored.bottom < source.height


def _without(source: Source, stored: Crop) -> Source:
    before, new = asdict(source.crop), asdict(stored)
    return replace(
        source,
        width=source.width - stored.left - stored.right,
        height=source.height - stored.top - stored.bottom,
        crop=Crop(**{side: before[side] + pixels for side, pixels in new.items()}),
    )


def _sides(source: Source) -> dict[str, str]:
    """Which side of the stored picture is shown as which."""
    marks = np.full((3, 3), "", "U6")
    for side, place in _PLACES.items():
        marks[place] = side
    shown = upright(marks, source) if turning(source) else marks
    return {side: str(shown[place]) for side, place in _PLACES.items()}


def _chroma(source: Source) -> tuple[int, int]:
    """Width and height of a chroma sample, in pixels."""
    across, down = PLANAR[source.layout].subsampling
    return 1 << across, 1 << down


def _bright(planes: Planes, source: Source) -> Sequence[int]:
    """Left, top, right and bottom of what is not black; of nothing, right is before left."""
    format = source.format
    limit = (_BLACK[format.color_range or "limited"] + _NOISE) << (format.bits - 8)
    light = np.maximum.reduce(planes) if format.family == "rgb" else planes[0]
    rows = np.flatnonzero(light.mean(axis=1) > limit)
    if not len(rows):
        return source.width, source.height, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(light[top:bottom].mean(axis=0) > limit)
    if not len(columns):  # too little of it
        return 0, top, source.width, bottom
    return int(columns[0]), top, int(columns[-1]) + 1, bottom


def _pictures(source: Source) -> Iterator[Picture]:
    """Pictures from all over ``source``: what is decoded to get to the middle of each part."""
    length = source.frames / source.frame_rate
    whole, latest = replace(source, span=None), None
    pictures: Iterator[Picture] = iter(())
    damage = Damage()
    for number in range(_MOMENTS):
        moment = source.start + length * Fraction(2 * number + 1, 2 * _MOMENTS)
        ticks, new = moment / source.time_base, Damage()
        sought = decode_pictures(whole, new, start=moment)
        picture = next(sought, None)
        if picture is not None and (latest is None or picture.pts > latest):
            pictures, damage = sought, new
        else:  # no keyframe has come since, or the file can't be sought in
            picture = next(pictures, None)
        while picture is not None:
            latest = picture.pts
            if not damage.corrupt_frames and (not source.span or source.span.holds(picture.pts)):
                yield picture
            picture = next(pictures, None) if latest < ticks else None
