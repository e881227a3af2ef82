"""What tests read out of a media file, by PyAV alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Command",
    "Copy",
    "ImageCommand",
    "colour",
    "copies",
    "durations",
    "file_tags",
    "frames",
    "planes",
    "slashed",
    "sound",
    "starts_with_its_index",
    "times",
]

#: ``lkdn-video SOURCE TARGET OPTIONS...`` with a pixel-repeating network; the exit code.
Command = Callable[..., int]
#: ``lkdn-image ARGUMENTS...`` likewise.
ImageCommand = Callable[..., int]


@dataclass
class Copy:
    """A stream that should not change: its kind, labels and packets (bytes, start, duration)."""

    kind: str
    tags: dict[str, str]
    disposition: int
    packets: list[tuple[bytes, Fraction | None, Fraction]]


def slashed(said: str) -> str:
    """``said`` with the paths of Windows, in JSON or not, as tests write them."""
    return re.sub(r"\\{1,2}", "/", said)


def frames(path: Path) -> list[av.VideoFrame]:
    """All frames of the first video stream."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    return [frame.pts * exact(frame.time_base) for frame in frames(path)]


def durations(path: Path) -> list[Fraction]:
    """How long each frame is shown, in seconds, as the file has it."""
    return [frame.duration * exact(frame.time_base) for frame in frames(path)]


def sound(path: Path) -> tuple[float, NDArray[Any]]:
    """When the first audio stream begins, in seconds, and its samples."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(audio=0))
    return float(decoded[0].time), np.concatenate([frame.to_ndarray() for frame in decoded], 1)


def planes(frame: av.VideoFrame) -> list[NDArray[Any]]:
    """The planes of a planar frame as arrays."""
    arrays = []
    for component in sorted(frame.format.components, key=lambda c: c.plane):
        plane = frame.planes[component.plane]
        dtype = np.uint8 if component.bits == 8 else np.uint16
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        arrays.append(rows[:, : plane.width])
    return arrays


def starts_with_its_index(path: Path) -> bool:
    """Whether a player of the MP4 or MOV file ``path`` needs only its beginning to start."""
    data = path.read_bytes()
    return 0 < data.index(b"moov") < data.index(b"mdat")


def colour(frame: av.VideoFrame) -> tuple[int, ...]:
    """Primaries, transfer, matrix, range and chroma location of a frame, as FFmpeg numbers."""
    return (
        frame.color_primaries,
        frame.color_trc,
        frame.colorspace,
        frame.color_range,
        frame.chroma_location,
    )


def copies(path: Path) -> list[Copy]:
    """Every stream but the first video, in order."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s is not container.streams.video[0]]
        found = {s.index: Copy(s.type, labels(s.metadata), s.disposition, []) for s in streams}
        for stream in streams:
            if isinstance(stream, av.stream.AttachmentStream):
                found[stream.index].packets.append((stream.data, None, Fraction(0)))
        for packet in container.demux():
            if packet.size and packet.stream_index in found:
                base = exact(packet.time_base)
                start = None if packet.pts is None else packet.pts * base
                length = (packet.duration or 0) * base
                found[packet.stream_index].packets.append((bytes(packet), start, length))
    return list(found.values())


def labels(tags: dict[str, str]) -> dict[str, str]:
    """Tags by lower-case name, without what a muxer writes about itself."""
    own = ("encoder", "duration", "handler_name", "major_brand", "minor_version")
    return {k.lower(): v for k, v in tags.items() if k.lower() not in (*own, "compatible_brands")}


def file_tags(path: Path) -> dict[str, str]:
    """Tags of the whole file."""
    with av.open(str(path)) as container:
        return labels(container.metadata)


def exact(ratio: Any) -> Fraction:
    """PyAV's rationals as Python's."""
    return Fraction(ratio.numerator, ratio.denominator)
