"""Streams that are copied as they are, in step with the new video."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

import av
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Stream

from lkdn_media.decode import Damage
from lkdn_media.demux import (
    JOINED,
    codec_name,
    is_cut_off,
    open_media,
    read_packets,
    shift_packet,
)
from lkdn_media.recode import Recoder
from lkdn_media.source import Source
from lkdn_media.streams import add_copy, is_cover, label_copy, new_codec
from lkdn_media.tags import copied_tags
from lkdn_media.timeline import Timeline

__all__ = ["StreamCopier"]

#: Seconds; a subtitle that began earlier than that before a part is not looked for.
_LONGEST_SUBTITLE: Final = 30
#: Seconds by which streams in a file may be out of step.
_STEP: Final = 30
#: What fills the gaps between MP4 subtitles; the muxer writes these itself.
_NO_TEXT = b"\0\0"
_PGS: Final = "pgssub"
#: The kind of PGS segment that comes first in what is shown together.
_COMPOSITION: Final = b"\x16"


class StreamCopier:
    """Copies packets of some streams of ``source`` beside its new video, in step with it.

    It reads the file a second time, so that neither end of the pipeline waits for the other. Of
    ``source.span`` it copies the packets that begin in it, and subtitles still shown at its start.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._opened: InputContainer | None = None
        self._window = _Window.of(source)
        self._outputs: dict[int, Stream] = {}
        self._recoders: dict[int, Recoder] = {}
        self._timelines: dict[int, Timeline] = {}
        self._shown: set[int] = set()  # streams of which a packet was not hidden
        self._last: dict[int, int | None] = {}  # the time of each stream's last packet
        self._next: av.Packet[Any] | None = None
        self._packets: Iterator[av.Packet[Any]] | None = None
        #: Of the streams that are copied.
        self.damage = Damage()

    def add_to(self, out: OutputContainer, index: int) -> Stream | None:
        """Add a stream to ``out`` that will take the packets of stream ``index``.

        ``None`` for what is an attachment there.
        """
        stream = self._container().streams[index]
        if isinstance(stream, AttachmentStream):
            _attach(out, stream, stream.data)
        elif is_cover(stream) and out.format.name == "matroska":
            _attach(out, stream, _first_packet(self._source.path, index))
        elif new := new_codec(out.format.name, stream):
            self._recoders[index] = Recoder(stream, out, new)
            self._outputs[index] = self._recoders[index].stream
            label_copy(self._outputs[index], stream, out.format.name)
        else:
            self._outputs[index] = add_copy(stream, out)
        return self._outputs.get(index)

    def advance(self, out: OutputContainer, seconds: float) -> None:
        """Copy what comes before ``seconds``; all that is left for ``math.inf``."""
        while packet := self._next or self._read():
            if _seconds(packet) > seconds:
                self._next = packet
                return
            self._write(out, packet)
            self._next = None
        while self._recoders:
            index, recoder = self._recoders.popitem()
            for last in recoder.packets(None):
                self._mux(out, index, last)

    def put(self, out: OutputContainer, packet: "av.Packet[Any]") -> None:
        """Hand ``packet``, of the video too, to the muxer, which keeps some until others come.

        It looks into sound of some kinds, and refuses what is damaged; the rest it takes.
        """
        try:
            out.mux(packet)
        except av.InvalidDataError:
            self.damage.refused_packets += 1

    def close(self) -> None:
        """Close the second view of the source."""
        if self._opened is not None:
            self._opened.close()

    def _container(self) -> InputContainer:
        if self._opened is None:
            self._opened = self._source.open()
        return self._opened

    def _read(self) -> "av.Packet[Any] | None":
        if self._packets is None:
            self._packets = self._kept()
        return next(self._packets, None)

    def _kept(self) -> "Iterator[av.Packet[Any]]":
        """What is copied, packet by packet."""
        if not self._outputs:
            return
        if self._window is not None:
            self._window.seek(self._container())
        try:
            for packet in map(self._in_time, read_packets(self._container(), self._outputs)):
                if self._window is not None and self._window.is_over(packet):
                    return
                self.damage.ends_early |= is_cut_off(packet)
                if packet.size and not packet.is_discard:
                    self._shown.add(packet.stream_index)
                if packet.size and not self._is_cut_out(packet):
                    yield from self._window.take(packet) if self._window else (packet,)
        except av.FFmpegError:
            self.damage.ends_early = True
        if self._window is not None:
            yield from self._window.rest()

    def _in_time(self, packet: "av.Packet[Any]") -> "av.Packet[Any]":
        """``packet``, or where it has the time of the last one, a copy that follows that.

        Fragments of MP4 may begin so, and FFmpeg flags that packet as one that an edit hides.
        """
        index, last = packet.stream_index, self._last.get(packet.stream_index)
        self._last[index] = packet.dts
        if not packet.is_discard or packet.dts is None or packet.dts != last:
            return packet
        copy = av.Packet(bytes(packet))
        copy.stream, copy.time_base = packet.stream, packet.time_base
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.is_keyframe = packet.is_keyframe
        shift_packet(copy, packet.duration or 0)
        return copy

    def _is_cut_out(self, packet: "av.Packet[Any]") -> bool:
        """Whether an edit of MP4 hides ``packet``, and no decoder needs it for what comes first."""
        index = packet.stream_index
        return packet.is_discard and index in self._shown and index not in self._recoders

    def _write(self, out: OutputContainer, packet: "av.Packet[Any]") -> None:
        index = packet.stream_index
        if codec_name(packet.stream) == "mov_text" and bytes(packet) == _NO_TEXT:
            return
        recoder = self._recoders.get(index)
        for new in recoder.packets(packet) if recoder else (packet,):
            self._mux(out, index, new)

    def _mux(self, out: OutputContainer, index: int, packet: "av.Packet[Any]") -> None:
        stream = self._outputs[index]
        packet.rescale_ts(stream.time_base)
        if not is_cover(stream):
            shift_packet(packet, -round(self._source.start / stream.time_base))
        if index not in self._timelines:
            # Matroska takes two packets at one time, which is usual in subtitles.
            step = 0 if out.format.name in ("matroska", "webm") else 1
            self._timelines[index] = Timeline(step=step)
        if packet.dts is not None:
            shift = self._timelines[index].place(packet.dts, packet.duration or 0) - packet.dts
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
        packet.stream = stream
        self.put(out, packet)


@dataclass(slots=True)
class _Window:
    """The part of a file that is copied, in seconds of its clock; ``end`` may be infinite."""

    start: Fraction
    end: Fraction | float
    joined: bool  # a file whose clock only holds from the start on
    # By stream: what is shown until something else is, and the keyframe that pictures begin with.
    _shown: "dict[int, list[av.Packet[Any]]]" = field(default_factory=dict)
    _keyframes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Source) -> "_Window | None":
        if source.span is None:
            return None
        first, end = source.span.first, source.span.end
        return cls(
            first * source.time_base,
            math.inf if end is None else end * source.time_base,
            source.container in JOINED,
        )

    def seek(self, container: InputContainer) -> None:
        """Skip what is far before, but not subtitles that may still be shown."""
        before = max(Fraction(_LONGEST_SUBTITLE), *(_priming(s) for s in container.streams))
        if not self.joined and self.start > before:
            with suppress(av.FFmpegError):
                container.seek(int((self.start - before) * av.time_base))

    def is_over(self, packet: "av.Packet[Any]") -> bool:
        """Whether all streams, which don't keep step to the packet, have left it behind."""
        return packet.size > 0 and _seconds(packet) > self.end + _STEP

    def take(self, packet: "av.Packet[Any]") -> "Iterator[av.Packet[Any]]":
        """``packet`` if it belongs in here, after what was shown already when the part begins."""
        if packet.pts is None or is_cover(packet.stream):
            yield packet
            return
        if self._shown and _seconds(packet) >= self.start:
            yield from self.rest()
        kind = packet.stream.type
        if kind == "video":
            if self._has_picture(packet, packet.pts):
                yield packet
            return
        if kind == "subtitle" and not self._cut_subtitle(packet, packet.pts):
            return
        if self.start - _priming(packet.stream) <= packet.pts * packet.time_base < self.end:
            yield packet

    def rest(self) -> "Iterator[av.Packet[Any]]":
        """What is shown when the part begins, and not yet taken."""
        shown, self._shown = self._shown, {}
        for packet in chain.from_iterable(shown.values()):
            packet.pts = packet.dts = math.ceil(self.start / packet.time_base)
            yield packet

    def _cut_subtitle(self, packet: "av.Packet[Any]", pts: int) -> bool:
        """Cut a subtitle to the part; whether something of it is left to be looked at now."""
        base = packet.time_base
        missing = math.ceil(self.start / base) - pts
        if not packet.duration and missing > 0:
            # Pictures are shown until the next one comes, which may be an empty one.
            starts = codec_name(packet.stream) != _PGS or bytes(packet)[:1] == _COMPOSITION
            before = [] if starts else self._shown.get(packet.stream_index, [])
            self._shown[packet.stream_index] = [*before, packet]
            return False
        if packet.duration and missing > 0:
            if packet.duration <= missing:
                return False
            shift_packet(packet, missing)
            packet.duration -= missing
        if packet.duration and self.end < math.inf and packet.pts is not None:
            packet.duration = min(packet.duration, max(0, math.floor(self.end / base) - packet.pts))
        return True

    def _has_picture(self, packet: "av.Packet[Any]", pts: int) -> bool:
        """Whether ``packet``, of another video, is in the part and what it leans on too."""
        index = packet.stream_index
        if index not in self._keyframes:
            if not packet.is_keyframe or pts * packet.time_base < self.start:
                return False
            self._keyframes[index] = pts
        # The last ones may lean on pictures that are shown after the end, so dts counts there.
        return pts >= self._keyframes[index] and _seconds(packet) < self.end


def _priming(stream: Stream) -> Fraction:
    """Seconds of sound that players leave out at the start of ``stream``, wherever that is now."""
    if not isinstance(stream, av.AudioStream) or not stream.codec_context:
        return Fraction(0)
    context = stream.codec_context
    return Fraction(context.initial_padding, context.sample_rate or 1)


def _attach(out: OutputContainer, stream: Stream, data: bytes) -> None:
    """Add a file to ``out``: an attachment, or a cover, which Matroska keeps as one."""
    tags = copied_tags(stream.metadata)
    suffix = {"mjpeg": "jpg"}.get(stream.name or "", stream.name or "bin")
    name = tags.pop("filename", f"cover.{suffix}")
    mimetype = tags.pop("mimetype", "image/jpeg" if suffix == "jpg" else f"image/{suffix}")
    out.add_attachment(name, mimetype, data).metadata.update(tags)


def _first_packet(path: Path, index: int) -> bytes:
    with open_media(path) as container:
        for packet in container.demux(container.streams[index]):
            return bytes(packet)
    return b""


def _seconds(packet: "av.Packet[Any]") -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return -math.inf if ticks is None else float(ticks * packet.time_base)
