"""The options for how large the result gets, of videos and pictures alike."""

import argparse
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lkdn_media.sizes import SizeChoice

__all__ = ["add_scale_option", "add_size_options", "scales_of", "size_choice"]


def add_scale_option(group: argparse._ArgumentGroup) -> None:
    """Add ``--scale``."""
    group.add_argument(
        "--scale",
        type=_factor,
        help="2, 3 and 4 are the network's own; others from 1 to 8, as 1.5, are made of those, "
        "above 4 by bicubic (default: that of --weights, 4, or what the final size needs)",
    )


def add_size_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--width``, ``--height`` and ``--fit``."""
    group.add_argument(
        "--width",
        type=int,
        help="of the result; alone, the height follows (default: scale times the source)",
    )
    group.add_argument(
        "--height", type=int, help="likewise; with --width a box that --fit says how to fill"
    )
    group.add_argument(
        "--fit",
        choices=("contain", "cover", "stretch"),
        default="contain",
        help="into the box: whole (default), cut to fill it, or distorted",
    )


def size_choice(arguments: argparse.Namespace) -> "SizeChoice":
    """The wished final size. Raises ``ArgumentError``."""
    from lkdn_core.arch import SCALES
    from lkdn_media.sizes import SizeChoice

    factor = None if arguments.scale in SCALES else arguments.scale
    return SizeChoice(arguments.width, arguments.height, arguments.fit, factor)


def scales_of(arguments: argparse.Namespace) -> tuple[int, ...]:
    """The scales to choose from: ``--scale`` alone, or all that the network is there for.

    Raises ``LKDNError`` where its weights can't be read.
    """
    from lkdn_core.arch import SCALES

    if arguments.scale in SCALES:
        return (int(arguments.scale),)
    if arguments.weights is not None:
        from lkdn_core.checkpoints import read_checkpoint

        return (read_checkpoint(arguments.weights)[1].scale,)
    from lkdn_core import list_models

    named = tuple(model.scale for model in list_models() if model.name == arguments.model)
    return named or SCALES


def _factor(text: str) -> Fraction:
    try:
        return Fraction(float(text)).limit_denominator(1000)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"a number is accepted, got {text}") from None
