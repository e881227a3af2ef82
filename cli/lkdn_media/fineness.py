"""How finely videos and pictures were compressed, whatever the codec and what they show."""

import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from lkdn_media.demux import open_decoder
from lkdn_media.source import Source

if TYPE_CHECKING:
    from lkdn_media.images import Still

__all__ = ["fineness", "fineness_of_still"]

#: In how many places a video is looked into, and how many packets for a keyframe.
_MOMENTS: Final = 8
_FURTHEST: Final = 600
#: FFmpeg's quantiser scale for the JPEGs.
_SCALE: Final = 4
#: FFmpeg's pixel format of JPEG.
_PIX_FMT: Final = "yuvj420p"


def fineness(source: Source) -> float | None:
    """Bytes of keyframes in ``source``, over those of good JPEGs of the same pictures.

    About 2 for x264 at crf 14, 1 at crf 23 and 0.5 at crf 32, and likewise of other codecs: what
    was smoothed takes less in both, and what is hard to compress more. ``None`` where ``source``
    can't be read twice, or has no keyframe that can be decoded.
    """
    if source.opener is not None and not source.frames:
        return None
    own = other = 0
    for size, frame in _keyframes(source):
        own += size
        other += _as_jpeg(frame)
    return own / other if other else None


def fineness_of_still(still: "Still") -> float | None:
    """The same of a picture: about 1 for a JPEG of quality 75 and 1.5 for one of 90.

    ``None`` where it was stored without loss, or can't be a JPEG.
    """
    if not still.codec:
        return None
    colours = still.pixels[..., : 3 if still.pixels.shape[2] > 2 else 1]
    rgb = np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    other = _as_jpeg(av.VideoFrame.from_ndarray(rgb, "rgb24"))
    return still.lossy_bytes / other if other else None


def _keyframes(source: Source) -> Iterator[tuple[int, av.VideoFrame]]:
    """Sizes in bytes of keyframes from all over ``source``, and what they show."""
    length = source.frames / source.frame_rate
    with source.open() as container:
        stream = container.streams[source.video]
        assert isinstance(stream, av.VideoStream)
        decoder = open_decoder(stream)
        seen: set[object] = set()
        for number in range(_MOMENTS if length else 1):
            if number:
                moment = source.start + length * Fraction(number, _MOMENTS)
                with suppress(av.FFmpegError):  # else reading just goes on
                    container.seek(math.floor(moment / source.time_base), stream=stream)
            packet = _next_keyframe(container, stream)
            if packet is None or packet.pts in seen:
                continue
            seen.add(packet.pts)
            frames: list[av.VideoFrame] = []
            with suppress(av.FFmpegError):
                frames = [*decoder.decode(packet), *decoder.decode(None)]
            decoder.flush_buffers()
            if frames and not frames[0].is_corrupt:
                yield packet.size, frames[0]


def _next_keyframe(
    container: av.container.InputContainer, stream: av.VideoStream
) -> "av.Packet[Any] | None":
    with suppress(av.FFmpegError):
        for packet in islice(container.demux(stream), _FURTHEST):
            if packet.is_keyframe and packet.size:
                return packet
    return None


def _as_jpeg(frame: av.VideoFrame) -> int:
    """The bytes that ``frame`` takes as a JPEG; 0 where it can't be one."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, _PIX_FMT
    encoder.time_base = Fraction(1)
    encoder.options = {"qmin": str(_SCALE), "qmax": str(_SCALE)}
    try:
        picture = frame.reformat(format=_PIX_FMT, threads=1)
        picture.pts = 0
        return sum(packet.size for packet in [*encoder.encode(picture), *encoder.encode(None)])
    except (av.FFmpegError, ValueError):
        return 0
