"""Whether a new file is whole: the last look before it gets its name."""

from array import array
from itertools import islice
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer

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
        packets, times = 0, array("q")  # of keyframes
        for packet in container.demux(stream):
            if packet.size:
                if packet.is_keyframe and packet.pts is not None:
                    times.append(packet.pts)
                packets += 1
        if packets != frames:
            raise LKDNError(f"the new file holds {packets} frames instead of {frames}")
        cheap = stream.width * stream.height * frames <= _CHEAP
        try:
            if cheap or not times:  # without keyframes there is no place to go to
                wanted = frames if cheap else 1
                decoded = _decoded(path, wanted)
            else:
                places = {times[i * (len(times) - 1) // _PLACES] for i in range(_PLACES + 1)}
                wanted = len(places)
                decoded = sum(_decodes_at(container, stream, place) for place in sorted(places))
        except av.FFmpegError as error:
            raise LKDNError(f"the new file can't be decoded: {error.strerror}") from error
    if decoded != wanted:
        raise LKDNError(f"only {decoded} of {wanted} frames in the new file can be decoded")


def _decoded(path: Path, limit: int) -> int:
    """How many whole frames can be decoded from the start on, out of ``limit``."""
    with open_media(path) as container:
        stream = main_video(container, path)
        stream.thread_type = "AUTO"
        return sum(not frame.is_corrupt for frame in islice(container.decode(stream), limit))


def _decodes_at(container: InputContainer, stream: av.VideoStream, place: int) -> bool:
    """Whether a whole frame comes out behind the keyframe at ``place``."""
    container.seek(place, stream=stream)
    frame = next(container.decode(stream), None)
    return frame is not None and not frame.is_corrupt
