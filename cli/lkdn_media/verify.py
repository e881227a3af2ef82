"""Whether a new file is whole: the last look before it gets its name."""

from array import array
from pathlib import Path
from typing import Final

import av

from lkdn_core.errors import LKDNError
from lkdn_media.demux import main_video, open_media

__all__ = ["verify"]

#: Pixels up to which all of the video is decoded, in well under a second.
_CHEAP: Final = 2**24
#: How many places of a longer one are looked at.
_PLACES: Final = 8


def verify(path: Path, frames: int) -> None:
    """Check that the video in ``path`` holds ``frames`` frames and decodes.

    All of a short one is decoded, of a long one the start, the end and places between them.
    Raises ``LKDNError``.
    """
    with open_media(path) as container:
        stream = main_video(container, path)
        size = stream.width * stream.height
        packets, times = 0, array("q")  # of keyframes
        for packet in container.demux(stream):
            if packet.size:
                if packet.is_keyframe and packet.pts is not None:
                    times.append(packet.pts)
                packets += 1
    if packets != frames:
        raise LKDNError(f"the new file holds {packets} frames instead of {frames}")
    try:
        if size * frames <= _CHEAP:
            decoded = _decoded(path, None, frames)
        else:
            places = {times[i * (len(times) - 1) // _PLACES] for i in range(1, _PLACES + 1)}
            decoded = min(_decoded(path, place, 1) for place in (None, *sorted(places)))
            frames = 1
    except av.FFmpegError as error:
        raise LKDNError(f"the new file can't be decoded: {error.strerror}") from error
    if decoded != frames:
        raise LKDNError(f"only {decoded} of the {frames} frames in the new file can be decoded")


def _decoded(path: Path, start: int | None, limit: int) -> int:
    """How many frames can be decoded from ``start`` on, at most ``limit``."""
    count = 0
    with open_media(path) as container:
        stream = main_video(container, path)
        stream.thread_type = "AUTO"
        if start is not None:
            container.seek(start, stream=stream)
        for _ in container.decode(stream):
            count += 1
            if count == limit:
                break
    return count
