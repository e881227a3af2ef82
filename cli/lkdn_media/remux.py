"""Streams that are copied as they are, in step with the new video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Stream

from lkdn_media.damage import Damage
from lkdn_media.demux import (
    codec_name,
    is_cover,
    is_cut_off,
    open_media,
    read_packets,
    seconds_of,
    shift_packet,
)
from lkdn_media.recode import Recoder
from lkdn_media.source import Source
from lkdn_media.streams import add_copy, label_copy
from lkdn_media.tags import copied_tags
from lkdn_media.timeline import Timeline
from lkdn_media.window import Window

__all__ = ["StreamCopier"]

#: What fills the gaps between MP4 subtitles; the muxer writes these itself.
_NO_TEXT = b"\0\0"


class StreamCopier:
    """Copies packets of some streams of ``source`` beside its new video, in step with it.

    It reads the file a second time, so that neither end of the pipeline waits for the other. Of
    ``source.span`` it copies the packets that begin in it, and subtitles still shown at its start.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._opened: InputContainer | None = None
        self._window = Window.of(source)
        self._outputs: dict[int, Stream] = {}
        self._recoders: dict[int, Recoder] = {}
        self._timelines: dict[int, Timeline] = {}
        self._shown: set[int] = set()  # streams of which a packet was not hidden
        self._last: dict[int, int | None] = {}  # the time of each stream's last packet
        self._next: av.Packet[Any] | None = None
        self._packets: Iterator[av.Packet[Any]] | None = None
        #: Of the streams that are copied.
        self.damage = Damage()

    def add_to(self, out: OutputContainer, index: int, new: str | None) -> Stream | None:
        """Add a stream to ``out`` that will take the packets of stream ``index``.

        ``new``: what it becomes, see `copied_streams`. ``None`` for what is an attachment there.
        """
        stream = self._container().streams[index]
        if isinstance(stream, AttachmentStream):
            _attach(out, stream, stream.data)
        elif is_cover(stream) and out.format.name == "matroska":
            _attach(out, stream, _first_packet(self._source.path, index))
        elif new is not None:
            self._recoders[index] = Recoder(stream, out, new, self.damage)
            self._outputs[index] = self._recoders[index].stream
            label_copy(self._outputs[index], stream, out.format.name)
        else:
            self._outputs[index] = add_copy(stream, out)
        return self._outputs.get(index)

    def advance(self, out: OutputContainer, seconds: float) -> None:
        """Copy what comes before ``seconds``; all that is left for ``math.inf``."""
        while packet := self._next or self._read():
            if seconds_of(packet) > seconds:
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
            place = self._timelines[index].place(packet.dts, packet.duration or 0)
            shift_packet(packet, place - packet.dts)
        packet.stream = stream
        self.put(out, packet)


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
