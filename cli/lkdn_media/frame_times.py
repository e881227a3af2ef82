"""Whether frames follow each other evenly, which a plain frame rate can tell."""

from contextlib import suppress
from itertools import pairwise

import av

from lkdn_media.demux import read_packets
from lkdn_media.source import Source

__all__ = ["times_vary"]


def times_vary(source: Source) -> bool:
    """Whether the video's frames are not all shown equally long, by more than rounding explains.

    All packets are read, none is decoded. What has no times, or comes from a pipe, is even.
    """
    if source.opener is not None or source.ffmpeg_filter is not None:
        return False
    times, span = list[int](), source.span
    with source.open() as container, suppress(av.FFmpegError):
        for packet in read_packets(container, {source.video}):
            if packet.size and packet.pts is not None and (not span or span.holds(packet.pts)):
                times.append(packet.pts)
    times.sort()
    # Matroska rounds to ms, so 24000/1001 frames a second are 41 or 42 of them apart.
    steps = {after - before for before, after in pairwise(times)}
    return bool(steps) and max(steps) - min(steps) > 1
