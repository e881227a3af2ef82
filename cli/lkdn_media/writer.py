"""New pictures into a file, beside the streams that are copied."""

import logging
import math
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
from av.container import OutputContainer
from av.stream import Stream

from lkdn_media.damage import Damage
from lkdn_media.demux import shift_packet
from lkdn_media.encode import VideoEncoder
from lkdn_media.ffmpeg_encoder import FfmpegEncoder
from lkdn_media.matroska_chapters import write_chapters
from lkdn_media.matroska_tracks import (
    STEREO,
    CorrectedHead,
    Label,
    Pipe,
    longer_title,
    write_labels,
    write_pixel_shape,
)
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.png import write_last_delay
from lkdn_media.remux import StreamCopier
from lkdn_media.tags import KEYS, stream_tags
from lkdn_media.timeline import Timeline

__all__ = ["VideoWriter", "make_encoder"]

log = logging.getLogger(__name__)

#: Animations go round and round; y4m of more than 8 bits is not in its old description.
_MUXER_OPTIONS: Final = {
    "apng": {"plays": "0"},
    "gif": {"loop": "0"},
    "yuv4mpegpipe": {"strict": "-1"},
}
#: How long a GIF can show a picture, in 1/100 s.
_LONGEST: Final = 2**16 - 1
#: Players of what is still on its way can begin.
_INDEX_FIRST: Final = "faststart"
#: Where MP4 would hide the first pictures, all streams begin later.
_NOTHING_EARLY: Final = {"avoid_negative_ts": "make_non_negative"}


def make_encoder(plan: Plan, out: OutputContainer) -> VideoEncoder | FfmpegEncoder:
    """What encodes ``plan``, as a stream of ``out``, whose head is not written yet."""
    if plan.program is None:
        return VideoEncoder(plan, out)
    return FfmpegEncoder(plan, out)


class VideoWriter:
    """Writes ``plan`` to ``path``, a new file, or to an open ``pipe`` instead.

    Not finished until `finish` returns.

    Raises ``ArgumentError`` where the encoder refuses its settings.
    """

    def __init__(self, plan: Plan, path: Path, *, pipe: Pipe | None = None) -> None:
        self._plan, self._path, self._piped = plan, path, pipe is not None
        self._start = round(plan.source.start / plan.filters.time_base)
        self._hundredths = Timeline(step=1)
        self._shortened = False  # some picture of a GIF
        self._last = Fraction(0)  # how long the last picture is shown
        self._labels: list[Label] = []  # of all streams but attachments, in order
        self._copier = StreamCopier(plan.source)
        self._opened = ExitStack()
        try:
            file: object = f"file:{path}"
            if pipe is not None:
                file = CorrectedHead(pipe, self._correct) if self._in_matroska else pipe
            options = dict(_MUXER_OPTIONS.get(plan.container, {}))
            if plan.container in ("mp4", "mov"):
                options["movflags"] = f"{_INDEX_FIRST}+{KEYS}" if plan.keys else _INDEX_FIRST
                early = plan.source.early and plan.source.span is None
                options |= _NOTHING_EARLY if early else {}
            self._out = av.open(file, "w", format=plan.container, options=options)
        except BaseException:
            self._copier.close()
            raise
        try:
            self._encoder = self._add_streams()
            self._encoder.open()
            self._out.start_encoding()
        except BaseException:
            self.abandon()
            raise

    @property
    def frames(self) -> int:
        """How many pictures were encoded."""
        return self._encoder.frames

    @property
    def damage(self) -> Damage:
        """What was wrong with the streams that are copied."""
        return self._copier.damage

    @property
    def extradata(self) -> bytes:
        """What a decoder has to know before the first packet."""
        return self._encoder.extradata

    def write(self, picture: Picture) -> None:
        """Encode one enlarged picture."""
        self.mux(self._encoder.encode(picture))

    def mux(self, packets: "Iterable[av.Packet[Any]]") -> None:
        """Write ``packets`` of the video, and what is copied up to their times."""
        for packet in packets:
            ticks = packet.pts if packet.dts is None else packet.dts
            if ticks is not None:
                self._copier.advance(self._out, float(ticks * self._plan.filters.time_base))
            shift_packet(packet, -self._start)
            self._last = (packet.duration or 0) * self._plan.filters.time_base
            if self._plan.container == "gif":
                self._round(packet)
            packet.stream = self._encoder.stream
            self._copier.put(self._out, packet)

    def finish(self) -> None:
        """Flush the encoder, copy what is left and close the file."""
        if self.frames:  # none where all packets came from elsewhere
            self.mux(self._encoder.flush())
        self._opened.close()
        self._copier.advance(self._out, math.inf)
        self._copier.close()
        self._out.close()
        if self._plan.container == "apng" and self._last:
            write_last_delay(self._path, self._last)
        if not self._in_matroska or self._piped:
            return  # what is sent was corrected on its way
        with self._path.open("r+b") as file:
            self._correct(file)
        chapters = self._plan.source.own_chapters(self._plan.container)
        if chapters:
            write_chapters(self._path, chapters)

    def abandon(self) -> None:
        """Close the file as it is; it is good for nothing."""
        self._copier.close()
        self._opened.close()
        with suppress(av.FFmpegError, OSError):
            self._out.close()

    @property
    def _in_matroska(self) -> bool:
        return self._plan.container in ("matroska", "webm")

    def _correct(self, file: BinaryIO) -> None:
        """Tell ``file``, of Matroska, of its tracks what the muxer could not be told."""
        ratio = _shape_to_correct(self._plan)
        if ratio is not None:
            write_pixel_shape(file, ratio)
        if any(fields for _, fields in self._labels):
            write_labels(file, self._labels)

    def _round(self, packet: "av.Packet[Any]") -> None:
        """Give ``packet`` times of GIF, which refuses two pictures in the same 1/100 s."""
        assert packet.pts is not None
        ticks = self._plan.filters.time_base * 100
        before = self._hundredths.end
        packet.pts = packet.dts = self._hundredths.place(round(packet.pts * ticks), 1)
        if self.frames > 1 and packet.pts - before >= _LONGEST and not self._shortened:
            log.warning("warning: gif shows no picture longer than 655.35 s; mkv and apng do")
            self._shortened = True
        packet.duration = round((packet.duration or 0) * ticks)
        packet.time_base = Fraction(1, 100)

    def _add_streams(self) -> VideoEncoder | FfmpegEncoder:
        """All streams in the order of the source, then chapters and tags."""
        plan, encoder = self._plan, None
        for info in plan.source.streams:
            stream: Stream | None = None
            if info.index == plan.source.video:
                encoder = make_encoder(plan, self._out)
                self._opened.callback(encoder.close)
                stream = encoder.stream
                stream.metadata.update(stream_tags(info.tags, plan.container))
                if _shape_to_correct(plan) is not None:
                    stream.metadata.update(STEREO)
                if self._piped and plan.source.frames:  # what a file is told at its end
                    seconds = float(plan.source.frames / plan.source.frame_rate)
                    stream.metadata["DURATION"] = str(timedelta(seconds=seconds))
                stream.disposition = info.disposition
            elif info.index in plan.copied:
                new = plan.copied[info.index]
                stream = self._copier.add_to(self._out, info.index, new)
            if stream is not None:
                self._label(stream, plan.source.own_fields(info.index, plan.container))
        assert encoder is not None
        self._out.set_chapters(list(plan.source.chapters))
        self._out.metadata.update(plan.metadata)
        return encoder

    def _label(self, stream: Stream, fields: bytes) -> None:
        """Have room beside the title of ``stream`` for ``fields``."""
        label = stream.metadata.get("title", ""), fields
        if fields:
            stream.metadata["title"] = longer_title(label)
        self._labels.append(label)


def _shape_to_correct(plan: Plan) -> Fraction | None:
    """The shape of pixels where only Matroska itself can tell it."""
    if plan.container not in ("matroska", "webm") or not plan.shape_in_container:
        return None
    if plan.source.stereo:  # the muxer's own fields are needed as they are
        return None
    return plan.sample_aspect_ratio
