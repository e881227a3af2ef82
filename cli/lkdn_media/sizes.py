"""The final size: what was wished for, as pixels."""

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, Protocol

from lkdn_core.errors import ArgumentError
from lkdn_core.resize import FinalSize

__all__ = ["Fit", "Shape", "SizeChoice", "choose_scale", "final_size", "size_warnings"]

Fit = Literal["contain", "cover", "stretch"]
#: How far bicubic may go beyond the network: films in 16:9 on DVD are 720 wide, 3840 is 5.3 times.
MOST_BEYOND: Final = 2
#: The largest factor that is made of the network's own and bicubic.
MOST: Final = 4 * MOST_BEYOND


class Shape(Protocol):
    """What is asked of a source: its stored size in pixels, and how they are shown.

    ``sample_aspect_ratio``: width by height of a pixel; ``None`` is square. ``sideways``: whether
    width and height change places.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def sample_aspect_ratio(self) -> Fraction | None: ...
    @property
    def sideways(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The wished size of the picture as it is shown, in square pixels; ``None`` leaves it open.

    With one side the other follows from the shape of the picture. With both, ``fit`` says what
    happens to another shape: ``contain`` makes the picture as large as fits, ``cover`` cuts off
    what is too much, on both sides alike, and ``stretch`` distorts. ``factor`` is for either side,
    and leaves pixels the shape they have. Raises ``ArgumentError``.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = "contain"
    factor: Fraction | None = None

    def __post_init__(self) -> None:
        if self.factor is not None:
            if not 1 <= self.factor <= MOST:
                raise ArgumentError(f"scale: 1 to {MOST} is accepted, got {float(self.factor):g}")
            if self.width is not None or self.height is not None:
                got = f"{float(self.factor):g}"
                raise ArgumentError(f"scale: 2, 3 or 4 is accepted with width or height, got {got}")
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None and value < 1:
                raise ArgumentError(f"{name}: a positive number is accepted, got {value}")
        if self.fit != "contain" and None in (self.width, self.height):
            raise ArgumentError(f"fit: {self.fit} needs both width and height")

    def __bool__(self) -> bool:
        return any(wish is not None for wish in (self.width, self.height, self.factor))


def choose_scale(source: Shape, choice: SizeChoice, scales: Collection[int]) -> int:
    """The smallest of ``scales`` that reaches ``choice``; the largest where none does or has to."""
    needed = _enlargement(source, choice) if choice else max(scales)
    return min((scale for scale in scales if scale >= needed), default=max(scales))


def final_size(
    source: Shape, choice: SizeChoice, *, scale: int, multiples: tuple[int, int]
) -> FinalSize | None:
    """The size of the stored picture, in steps of ``multiples``; ``None`` where none is wished.

    Without a factor pixels are square then, whatever those of ``source`` are. Raises
    ``ArgumentError`` for sizes above ``MOST_BEYOND`` times those that ``scale`` reaches.
    """
    if not choice:
        return None
    needed = _enlargement(source, choice)
    if needed > MOST_BEYOND * scale:
        raise ArgumentError(_too_large(source, choice, needed, MOST_BEYOND * scale))
    width, height = (
        max(step, round(side / step) * step)
        for side, step in zip(_stored(source, choice), multiples, strict=True)
    )
    crop = None
    if choice.fit == "cover":
        wide, high = (round(side * scale) for side in _used(source, choice))
        left, top = (source.width * scale - wide) // 2, (source.height * scale - high) // 2
        crop = (left, top, wide, high)
    return FinalSize(width=width, height=height, crop=crop)


def size_warnings(source: Shape, choice: SizeChoice, size: FinalSize, *, scale: int) -> list[str]:
    """What is left to bicubic, and what is not kept to the pixel, since chroma needs even sizes."""
    found, beyond = [], float(_enlargement(source, choice) / scale)
    if beyond > 1:
        found.append(f"the network enlarges {scale} times, bicubic the rest: {beyond:.3g} times")
    wished = _stored(source, choice)
    named = all(side.denominator == 1 for side in wished)
    if named and wished != (Fraction(size.width), Fraction(size.height)):
        found.append(
            f"{wished[0]}x{wished[1]} is written as {size.width}x{size.height}, for whole chroma "
            "samples; --pix-fmt yuv444p takes any size"
        )
    return found


def _stored(source: Shape, choice: SizeChoice) -> tuple[Fraction, Fraction]:
    """Width and height of the stored picture, before rounding."""
    if choice.factor is not None:
        return source.width * choice.factor, source.height * choice.factor
    wide, high = choice.width, choice.height
    if source.sideways:
        wide, high = high, wide
    shape = _shape(source)
    if wide is None or high is None or choice.fit == "contain":
        sides = [Fraction(wide) / shape] if wide is not None else []
        sides += [Fraction(high)] if high is not None else []
        return min(sides) * shape, min(sides)
    return Fraction(wide), Fraction(high)


def _used(source: Shape, choice: SizeChoice) -> tuple[Fraction, Fraction]:
    """Width and height of the part of the source that is shown."""
    if choice.fit != "cover":
        return Fraction(source.width), Fraction(source.height)
    width, height = _stored(source, choice)
    # How wide the new shape is, compared with that of the source.
    wider = width / height / _shape(source)
    return source.width * min(wider, Fraction(1)), source.height * min(1 / wider, Fraction(1))


def _enlargement(source: Shape, choice: SizeChoice) -> Fraction:
    """How many pixels become of one, along the side where it is more."""
    pairs = zip(_stored(source, choice), _used(source, choice), strict=True)
    return max(new / old for new, old in pairs)


def _shape(source: Shape) -> Fraction:
    """Width by height of the whole stored picture, seen through its pixels' shape."""
    return Fraction(source.width, source.height) * (source.sample_aspect_ratio or 1)


def _too_large(source: Shape, choice: SizeChoice, needed: Fraction, most: int) -> str:
    if choice.factor is not None:
        return f"scale: at most {most} is accepted with this network, got {float(choice.factor):g}"
    sides = [_shape(source) * source.height, Fraction(source.height)]  # as they are shown
    if source.sideways:
        sides.reverse()
    given = zip((choice.width, choice.height), sides, ("width", "height"), strict=True)
    ratios = [(side / old, name, side) for side, old, name in given if side is not None]
    _, name, got = min(ratios) if choice.fit == "contain" else max(ratios)
    return (
        f"{name}: at most {most} times the source's {source.width}x{source.height} is accepted, "
        f"got {got}, which is {float(needed):.2f} times"
    )
