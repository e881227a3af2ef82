"""Pictures of 256 colours, for GIF."""

from fractions import Fraction
from typing import Final

import av
from av.filter import Graph

__all__ = ["PALETTE", "paletted"]

#: The pixel format with a palette of its own in each frame.
PALETTE: Final = "pal8"


def paletted(frame: av.VideoFrame) -> av.VideoFrame:
    """``frame``, RGB with or without alpha, in the 256 colours that suit it best, dithered."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=Fraction(1, 100),  # of no account
    )
    packed, split, use = graph.add("format", "bgra"), graph.add("split"), graph.add("paletteuse")
    colours, sink = graph.add("palettegen"), graph.add("buffersink")
    source.link_to(packed)
    packed.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(colours, 1, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()
