"""Decoded pictures of a file, in display order, as planes the core takes."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any

import av
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from lkdn_core.errors import FormatError, LKDNError
from lkdn_media.damage import Damage
from lkdn_media.demux import JOINED, is_cut_off, is_repeat, open_decoder, read_packets
from lkdn_media.ffmpeg_filter import filtered_frames
from lkdn_media.filters import FilterChain
from lkdn_media.formats import PLANAR, ColourTags, repacked
from lkdn_media.hwaccel import accelerator
from lkdn_media.pipes import size_of_pipe
from lkdn_media.planes import Picture, cut_planes, planes_of
from lkdn_media.recolour import recoloured
from lkdn_media.side_data import has_captions, has_hdr10, unfielded, unkept_in
from lkdn_media.source import Source
from lkdn_media.timeline import Timeline

__all__ = ["decode_pictures"]

log = logging.getLogger(__name__)
#: Frames without a time at the start; a raw stream has none at all.
_MOST_UNDATED = 16
#: Encoders are told what the first picture says.
_LATE_HDR10 = "mastering display and content light of HDR10 that begin after the first picture"
_OTHER_COLOURS = "colour tags that change after the first picture"
#: Packets that are kept to be decoded again: more than most encoders put between keyframes.
_LONGEST_GROUP = 600


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
    `Timeline`). Pictures of another size, format, matrix or range, as in broadcasts, are made like
    the first; numbered picture files of another size or format raise ``LKDNError``. Other colour
    tags and a shape of pixels that change are told of, and the samples left as they are.
    """
    layout = source.layout
    filters = filters or FilterChain((), source.frame_rate, source.time_base, source.frame_rate)
    has_hdr10_first = bool(source.mastering_display or source.content_light)
    timeline = Timeline(step=1)
    usual = round(1 / (filters.frame_rate * filters.time_base))
    frames = _dated(_checked(_spanned(source, damage, start), source, damage), source)
    for frame, decoded in filters.apply(frames):
        moved = timeline.moved
        pts = timeline.place(frame.pts, frame.duration or usual)
        damage.moved_frames += timeline.moved - moved
        carrier = decoded if has_captions(decoded, source.decoder) else None
        planes = cut_planes(planes_of(frame, layout), source.crop, layout)
        alpha = planes[-1] if PLANAR[layout].alpha else None
        planes = planes if alpha is None else planes[:-1]
        unkept = unkept_in(decoded, source.decoder)
        if not has_hdr10_first and has_hdr10(decoded, source.decoder):
            unkept.append(_LATE_HDR10)
        here = ColourTags.of(decoded).filled(source.tags)
        if here != source.tags:
            planes, same = _like_first(planes, here, source)
            if not same or here.light != source.tags.light:
                unkept.append(_OTHER_COLOURS)
        yield Picture(planes, pts, frame.duration or 0, alpha, carrier, unkept)
    if source.declared_end is not None:
        missing = source.declared_end - float(timeline.end * filters.time_base)
        if missing > max(2 / float(source.frame_rate), source.declared_end / 100):
            damage.ends_early = True


def _like_first(
    planes: Sequence[NDArray[Any]], tags: ColourTags, source: Source
) -> tuple[Sequence[NDArray[Any]], bool]:
    """``planes`` of a picture with other ``tags``, in the source's matrix and range.

    And whether that could be done.
    """
    try:
        own = replace(source, tags=tags).format
    except FormatError:  # a matrix that the core doesn't know
        return planes, False
    return planes if own == source.format else recoloured(planes, own, source.format), True


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
        moved = timeline.moved
        frame.pts = timeline.place(frame.pts, frame.duration or usual)
        if span.end is not None and frame.pts >= span.end:
            return
        if span.end is not None:
            frame.duration = min(frame.duration or 0, span.end - frame.pts)
        if frame.pts >= span.first:
            damage.moved_frames += timeline.moved - moved
            yield frame


def _frames(source: Source, damage: Damage, start: Fraction | None) -> Iterator[av.VideoFrame]:
    if source.ffmpeg_filter is not None:
        return filtered_frames(source, source.ffmpeg_filter)
    frames = _decoded(source, damage, start)
    return _lasting(frames, source) if source.by_packets else frames


def _lasting(frames: Iterator[av.VideoFrame], source: Source) -> Iterator[av.VideoFrame]:
    """``frames`` that last until the next one; the last one as long as the head says."""
    waiting = None
    for frame in frames:
        if waiting is not None:
            if waiting.pts is not None and frame.pts is not None:
                waiting.duration = max(0, frame.pts - waiting.pts)
            yield waiting
        waiting = frame
    if waiting is None:
        return
    if source.shown_end is not None and waiting.pts is not None:
        waiting.duration = max(0, source.shown_end - waiting.pts) or waiting.duration
    yield waiting


def _decoded(source: Source, damage: Damage, start: Fraction | None) -> Iterator[av.VideoFrame]:
    hardware = accelerator(source.hwaccel, source.decoder)
    with source.open(hwaccel=hardware) as container:
        stream = container.streams[source.video]
        assert isinstance(stream, av.VideoStream)
        decoder = open_decoder(stream)
        shape: object = None
        group = _Group()
        read = end = 0
        if start is not None:
            with suppress(av.FFmpegError):
                container.seek(math.floor(start / source.time_base), stream=stream)
        for packet in _packets(container, stream, damage):
            if read == 0 and start and source.packets and packet is not None and packet.dts:
                read = stream.index_entries.search_timestamp(packet.dts, any_frame=True)
            if packet is not None and is_repeat(packet):
                read += 1
                continue
            read += packet is not None and packet.size > 0
            damage.ends_early |= packet is not None and is_cut_off(packet)
            ends = packet is None or not packet.size
            if packet is not None and packet.pos is not None:
                end = packet.pos + packet.size
            group.read(packet)
            frames: list[av.VideoFrame] = []
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError as error:
                log.info("%s: packet %d: %s", source.path, read, error)
                damage.bad_packets += not ends
                group.bad += not ends
            if ends and not hardware and group.pending > len(frames):
                frames = max(frames, _last_frames(group, decoder, source, damage), key=len)
            if frames:  # before them, the container may say something else
                here = decoder.sample_aspect_ratio or 1
                shape = shape or here
                damage.reshaped |= here != shape
            for frame in frames:
                group.shown(frame)
                if container.format.name == "avi":  # it has no other times; those are guesses
                    frame.pts = frame.dts
                plain = unfielded(frame, source.decoder)
                yield repacked(plain, source.pix_fmt) if hardware else plain
        damage.ends_early |= read < source.packets
        # y4m holds nothing behind its last picture; of one that is cut off, nothing is read.
        if container.format.name == "yuv4mpegpipe":
            size = container.size
            damage.ends_early |= end < (size_of_pipe(container) if size is None else size)


class _Group:
    """The packets since the last keyframe but one, and how far the frames of all have come."""

    def __init__(self) -> None:
        self.bad_before = self.bad = 0  # how many of each were counted as bad
        self.before: list[av.Packet[av.VideoStream]] = []
        self.packets: list[av.Packet[av.VideoStream]] = []
        self.pending = 0  # packets of which no frame has come
        self.latest: int | None = None

    def read(self, packet: "av.Packet[av.VideoStream] | None") -> None:
        if packet is not None and packet.size:
            if packet.is_keyframe or len(self.packets) == _LONGEST_GROUP:
                self.before, self.packets = self.packets, []
                self.bad_before, self.bad = self.bad, 0
            self.packets.append(packet)
            self.pending += 1

    def shown(self, frame: av.VideoFrame) -> None:
        self.pending -= 1
        if frame.pts is not None:
            self.latest = frame.pts if self.latest is None else max(frame.pts, self.latest)


def _last_frames(
    group: _Group, decoder: av.VideoCodecContext, source: Source, damage: Damage
) -> list[av.VideoFrame]:
    """The frames not shown yet, where the end of the file is damaged.

    A decoder of several threads may meet the bad packet when it is emptied, and PyAV can't get out
    what lies behind that. So the last two groups are decoded once more, by one thread.
    """
    again = av.CodecContext.create(decoder.name, "r")
    assert isinstance(again, av.VideoCodecContext)
    again.extradata, again.thread_count = decoder.extradata, 1
    # Bare samples don't say what they are.
    again.width, again.height, again.pix_fmt = decoder.width, decoder.height, decoder.pix_fmt
    found: list[av.VideoFrame] = []
    bad = 0
    for packet in [*group.before, *group.packets, None]:
        try:
            frames = again.decode(packet)
        except av.FFmpegError:
            bad += 1
            continue
        for frame in frames:
            if frame.pts is not None and (group.latest is None or frame.pts > group.latest):
                frame.time_base = source.time_base
                found.append(frame)
    damage.bad_packets += max(0, bad - group.bad_before - group.bad)
    return found


def _dated(frames: Iterator[av.VideoFrame], source: Source) -> Iterator[av.VideoFrame]:
    """``frames`` whose first ones have times even where the container had no way to write them.

    Matroska's reader gives none for what lies before zero; that comes in quick succession then.
    """
    waiting: list[av.VideoFrame] = []
    for frame in frames:
        waiting.append(frame)
        if frame.pts is not None or len(waiting) > _MOST_UNDATED:
            break
    if waiting and waiting[-1].pts is not None:
        usual = round(1 / (source.frame_rate * source.time_base))
        first, count = waiting[-1].pts, len(waiting) - 1
        step = min(usual, first // count) if count else 0
        for place, frame in enumerate(waiting[:-1]):
            frame.pts = first - step * (count - place)
    yield from waiting
    yield from frames


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, damage: Damage
) -> Iterator["av.Packet[av.VideoStream] | None"]:
    """The stream's packets; the last one, or ``None``, flushes the decoder."""
    try:
        yield from read_packets(container, {stream.index})
    except av.FFmpegError:
        damage.ends_early = True
        yield None


def _checked(
    frames: Iterator[av.VideoFrame], source: Source, damage: Damage
) -> Iterator[av.VideoFrame]:
    width, height = source.decoded_size
    first = f"{width}x{height} {source.pix_fmt}"
    for number, frame in enumerate(frames):
        here = f"{frame.width}x{frame.height} {frame.format.name}"
        damage.corrupt_frames += frame.is_corrupt
        if here == first:
            yield frame
            continue
        if source.opener is not None:
            raise LKDNError(f"{source.path}: changes from {first} to {here} at frame {number}")
        damage.scaled_frames += 1
        new = frame.reformat(width, height, source.pix_fmt, interpolation="BICUBIC", threads=1)
        if source.pix_fmt.startswith("yuvj"):  # of full range now, which the tag doesn't say
            new.color_range = ColorRange.JPEG
        yield new
