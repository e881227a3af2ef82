"""What numbers and names may be, said in one way."""

import sys
from collections.abc import Collection

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = ["choose", "number", "whole"]


def whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Raise ``ArgumentError`` unless ``value`` is an integer from ``least`` to ``most``."""
    if type(value) is not int or value < least or (most is not None and value > most):
        end = "" if most is None else f" to {most}"
        raise ArgumentError(f"{name}: an integer from {least}{end} is accepted, got {value!r}")


def number(name: str, value: object, *, below: float = sys.float_info.max) -> None:
    """Raise ``ArgumentError`` unless ``value`` is a number from 0 up to ``below``, exclusive."""
    if isinstance(value, bool) or not (isinstance(value, int | float) and 0 <= value < below):
        end = "finite" if below == sys.float_info.max else f"below {below:g}"
        raise ArgumentError(f"{name}: a number of at least 0, {end}, is accepted, got {value!r}")


def choose(
    name: str,
    value: object,
    accepted: Collection[object],
    *,
    error: type[LKDNError] = ArgumentError,
) -> None:
    """Raise ``error`` unless ``value`` is among those ``accepted``, and of their type."""
    if not any(_same(value, one) for one in accepted):
        *others, last = map(str, accepted)
        names = f"{', '.join(others)} or {last}" if others else last
        raise error(f"{name}: {names} is accepted, got {value!r}")


def _same(a: object, b: object) -> bool:
    """Whether they are equal, and of one type within too: 1 is neither 1.0 nor True."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and a == b
