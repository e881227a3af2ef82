"""Decoded pictures of a file, in display order, as planes the core takes."""

import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
from av.sidedata.sidedata import Type as SideData
from numpy.typing import NDArray

from lkdn_core.errors import LKDNError
from lkdn_media.demux import JOINED, open_decoder, open_media, read_packets
from lkdn_media.ffmpeg_filter import filtered_frames
from lkdn_media.filters import FilterChain
from lkdn_media.formats import PLANAR, repacked
from lkdn_media.hwaccel import accelerator
from lkdn_media.planes import Planes, planes_of
from lkdn_media.probe import Source
from lkdn_media.timeline import Timeline

__all__ = ["Damage", "Picture", "Planes", "decode_pictures"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """Planes, with ``pts`` and ``duration`` (0: not known) in the time base of the plan.

    ``alpha``: a plane of its own, where the source has it. ``carrier``: the frame it was decoded
    as, where that has more to hand on: closed captions.
    """

    planes: Planes
    pts: int
    duration: int
    alpha: NDArray[Any] | None = None
    carrier: av.VideoFrame | None = None


@dataclass(slots=True)
class Damage:
    """What was wrong with a source that could be read all the same."""

    bad_packets: int = 0
    corrupt_frames: int = 0
    moved_frames: int = 0
    ends_early: bool = False

    def __bool__(self) -> bool:
        return bool(str(self))

    def __str__(self) -> str:
        parts = {
            f"{self.bad_packets} packets could not be decoded": self.bad_packets,
            f"{self.corrupt_frames} frames are damaged": self.corrupt_frames,
            f"{self.moved_frames} frames came late and were moved": self.moved_frames,
            "the file ends before its time": self.ends_early,
        }
        return ", ".join(text for text, there in parts.items() if there)


def decode_pictures(
    source: Source,
    damage: Damage,
    filters: FilterChain | None = None,
    *,
    start: Fraction | None = None,
) -> Iterator[Picture]:
    """All displayed frames of ``source.span``, the decoder flushed at the end.

    What goes wrong is told to ``damage``.

    ``start``: in seconds; begins at the keyframe before it, as far as the file can be sought in.
    Timestamps, in the time base of ``filters`` (else of the source), rise strictly (see
    `Timeline`). Raises ``LKDNError`` when the pictures change size or format on the way.
    """
    layout = source.layout
    filters = filters or FilterChain((), source.time_base, source.frame_rate)
    timeline = Timeline(step=1)
    usual = round(1 / (filters.frame_rate * filters.time_base))
    frames = _checked(_spanned(source, damage, start), source, damage)
    for frame in filters.apply(frames, source.frame_rate):
        pts = timeline.place(frame.pts, frame.duration or usual)
        damage.moved_frames = timeline.moved
        carrier = frame if SideData.A53_CC in frame.side_data else None
        planes = planes_of(frame, layout)
        alpha = planes[-1] if PLANAR[layout].alpha else None
        planes = planes if alpha is None else planes[:-1]
        yield Picture(planes, pts, frame.duration or 0, alpha, carrier)
    if source.declared_end is not None:
        missing = source.declared_end - float(timeline.end * filters.time_base)
        if missing > max(2 / float(source.frame_rate), source.declared_end / 100):
            damage.ends_early = True


def _spanned(source: Source, damage: Damage, start: Fraction | None) -> Iterator[av.VideoFrame]:
    """The frames of ``source.span``; of all of the file where there is none."""
    span = source.span
    if span is None:
        yield from _frames(source, damage, start)
        return
    wanted = span.first * source.time_base
    # Where joints are closed, times hold from the start on only.
    begin = None if source.container in JOINED else max(wanted, start or wanted)
    frames = _frames(source, damage, begin)
    if begin is not None and start is None:
        opening = next(frames, None)
        if opening is None or opening.pts is None or opening.pts > span.first:
            frames = _frames(source, damage, None)  # seeking went too far
        else:
            frames = chain([opening], frames)
    timeline, usual = Timeline(step=1), round(1 / (source.frame_rate * source.time_base))
    for frame in frames:
        frame.pts = timeline.place(frame.pts, frame.duration or usual)
        if span.end is not None and frame.pts >= span.end:
            return
        if frame.pts >= span.first:
            yield frame


def _frames(source: Source, damage: Damage, start: Fraction | None) -> Iterator[av.VideoFrame]:
    if source.ffmpeg_filter is not None:
        yield from filtered_frames(source, source.ffmpeg_filter)
        return
    hardware = accelerator(source.hwaccel, source.decoder)
    with open_media(source.path, hwaccel=hardware) as container:
        stream = container.streams[source.video]
        assert isinstance(stream, av.VideoStream)
        decoder = open_decoder(stream)
        read = 0
        if start is not None:
            with suppress(av.FFmpegError):
                container.seek(math.floor(start / source.time_base), stream=stream)
        for packet in _packets(container, stream, damage):
            if read == 0 and start and source.packets and packet is not None and packet.dts:
                read = stream.index_entries.search_timestamp(packet.dts, any_frame=True)
            read += packet is not None and packet.size > 0
            try:
                for frame in decoder.decode(packet):
                    yield repacked(frame, source.pix_fmt) if hardware else frame
            except av.FFmpegError as error:
                log.info("%s: packet %d: %s", source.path, read, error)
                damage.bad_packets += 1
        damage.ends_early |= read < source.packets


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, damage: Damage
) -> Iterator["av.Packet[av.VideoStream] | None"]:
    """The stream's packets; the last one, or ``None``, flushes the decoder."""
    packets = read_packets(container, {stream.index})
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            damage.ends_early = True
            yield None
            return
        yield packet


def _checked(
    frames: Iterator[av.VideoFrame], source: Source, damage: Damage
) -> Iterator[av.VideoFrame]:
    first = f"{source.width}x{source.height} {source.pix_fmt}"
    for number, frame in enumerate(frames):
        here = f"{frame.width}x{frame.height} {frame.format.name}"
        if here != first:
            raise LKDNError(
                f"{source.path}: changes from {first} to {here} at frame {number}, "
                "which is not supported; cut it there and enlarge the parts"
            )
        damage.corrupt_frames += frame.is_corrupt
        yield frame
