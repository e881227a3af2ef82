"""What animations need beside their encoders: 256 colours for GIF, the last delay for APNG."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Final
from zlib import crc32

import av
import numpy as np
from av.filter import Graph

__all__ = ["PALETTE", "Colours", "write_last_delay"]

#: The pixel format with a palette of its own in each frame.
PALETTE: Final = "pal8"
#: Pixels a side of the parts that are compared, and by how much others' colours may be worse.
_BLOCK: Final = 16
_SLACK: Final = 1.25
#: The chunk of PNG that says how a picture of an animation is shown; its fields, its delay.
_CONTROL: Final = b"fcTL"
_CONTROL_SIZE: Final = 26
_DELAY: Final = slice(20, 24)
#: What its numerator and denominator have room for.
_MOST: Final = 2**16 - 1


class Colours:
    """The 256 colours of the pictures of an animation: the last ones, as long as they do.

    With new ones for each picture all of it would change each time, which no GIF stores well.
    """

    def __init__(self) -> None:
        self._colours: av.VideoFrame | None = None
        self._distance = 0.0

    def drawn(self, frame: av.VideoFrame) -> av.VideoFrame:
        """``frame``, RGB with or without alpha, in these colours, dithered."""
        if self._colours is not None:
            new = _through("paletteuse", frame, self._colours)
            if _distance(frame, new) <= _SLACK * self._distance + 1:
                return new
        self._colours = _through("palettegen", frame)
        new = _through("paletteuse", frame, self._colours)
        self._distance = _distance(frame, new)
        return new


def _through(name: str, *frames: av.VideoFrame) -> av.VideoFrame:
    """What the filter ``name`` makes of ``frames``, one for each of its inputs."""
    graph = Graph()
    filter, sink = graph.add(name), graph.add("buffersink")
    sources = []
    for place, frame in enumerate(frames):
        packed = graph.add("format", "bgra")
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(1, 100),  # of no account
        )
        source.link_to(packed)
        packed.link_to(filter, 0, place)
        sources.append(source)
    filter.link_to(sink)
    graph.configure()
    for source, frame in zip(sources, frames, strict=True):
        source.push(frame)
        source.push(None)
    made = sink.pull()
    assert isinstance(made, av.VideoFrame)
    return made


def _distance(one: av.VideoFrame, other: av.VideoFrame) -> float:
    """How far ``other`` is from ``one`` where that is most, in codes: a small thing counts too."""
    old, new = (
        frame.reformat(format="rgba", threads=1).to_ndarray().astype(np.int16)
        for frame in (one, other)
    )
    apart = np.abs(old - new)[..., :3].mean(2) * (new[..., 3] > 0)
    rows, columns = (np.arange(0, size, _BLOCK) for size in apart.shape)
    sums = np.add.reduceat(np.add.reduceat(apart, rows, 0), columns, 1)
    counts = np.outer(np.diff([*rows, len(apart)]), np.diff([*columns, apart.shape[1]]))
    return float((sums / counts).max())


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
