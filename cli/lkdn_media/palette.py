"""What animations need beside their encoders: 256 colours for GIF, the last delay for APNG."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Final
from zlib import crc32

import av
from av.filter import Graph

__all__ = ["PALETTE", "paletted", "write_last_delay"]

#: The pixel format with a palette of its own in each frame.
PALETTE: Final = "pal8"
#: The chunk of PNG that says how a picture of an animation is shown; its fields, its delay.
_CONTROL: Final = b"fcTL"
_CONTROL_SIZE: Final = 26
_DELAY: Final = slice(20, 24)
#: What its numerator and denominator have room for.
_MOST: Final = 2**16 - 1


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


def write_last_delay(path: Path, delay: Fraction) -> None:
    """Show the last picture of the APNG file at ``path`` for ``delay`` seconds.

    The muxer repeats the delay before it, or has to know this one before all pictures.
    """
    with path.open("r+b") as file:
        file.seek(8)  # the signature
        last = None
        while len(head := file.read(8)) == 8:
            last = file.tell() if head[4:] == _CONTROL else last
            file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
        if last is None:  # a single picture is no animation
            return
        file.seek(last)
        fields = bytearray(file.read(_CONTROL_SIZE))
        delay = min(delay, Fraction(_MOST))
        delay = delay.limit_denominator(int(_MOST / max(Fraction(1), delay)))
        fields[_DELAY] = delay.numerator.to_bytes(2) + delay.denominator.to_bytes(2)
        file.seek(last)
        file.write(fields + crc32(_CONTROL + fields).to_bytes(4))
