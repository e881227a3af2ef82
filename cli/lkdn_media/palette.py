"""The 256 colours of GIF."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.filter import Graph

__all__ = ["PALETTE", "Colours"]

#: The pixel format with a palette of its own in each frame.
PALETTE: Final = "pal8"
#: Pixels a side of the parts that are compared, and by how much others' colours may be worse.
_BLOCK: Final = 16
_SLACK: Final = 1.25


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
