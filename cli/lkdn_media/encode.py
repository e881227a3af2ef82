"""New pictures into a file, beside the streams that are copied."""

import math
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType

from lkdn_core.errors import ArgumentError
from lkdn_media.decode import Picture
from lkdn_media.demux import shift_packet
from lkdn_media.formats import PLANAR, nearest_planar, repacked
from lkdn_media.matroska import STEREO, write_pixel_shape
from lkdn_media.palette import PALETTE, paletted, write_last_delay
from lkdn_media.plan import Plan
from lkdn_media.planes import fill_planes
from lkdn_media.priority import ordinary_priority
from lkdn_media.remux import StreamCopier
from lkdn_media.tags import KEYS, stream_tags
from lkdn_media.targets import PIPE_FORMATS
from lkdn_media.timeline import Timeline

if TYPE_CHECKING:
    from lkdn_media.ffmpeg_encoder import FfmpegEncoder

__all__ = ["VideoEncoder", "VideoWriter", "label_stream", "make_encoder", "make_frame"]

#: HEVC in MP4 plays on Apple systems only under this name.
_HEVC_TAG: Final = "hvc1"
#: Codecs that only know frame rates, or have few bits for a time. Their encoders count pictures.
_COUNTING: Final = {
    *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"),
    *("h263", "h263p", "flv1", "rv10", "rv20"),
}
#: Animations go round and round; y4m of more than 8 bits is not in its old description.
_MUXER_OPTIONS: Final = {
    "apng": {"plays": "0"},
    "gif": {"loop": "0"},
    "yuv4mpegpipe": {"strict": "-1"},
}
#: Where MP4 would hide the first pictures, all streams begin later.
_NOTHING_EARLY: Final = {"avoid_negative_ts": "make_non_negative"}
#: Shorter streams have no frames out of order, and x265 makes up their decoding times.
_REORDERED: Final = 3


class VideoEncoder:
    """The encoder of ``plan``, as a stream of ``out``, whose head is not written yet.

    `open` raises ``ArgumentError`` where the encoder refuses its settings.
    """

    def __init__(self, plan: Plan, out: OutputContainer) -> None:
        self._plan = plan
        self.stream = _add_video(out, plan)
        self.frames = 0
        piped = plan.container in PIPE_FORMATS.values()
        self._counts = piped or self.stream.codec_context.codec.canonical_name in _COUNTING
        self._times: list[tuple[int, int]] = []  # (pts, duration) of counted pictures
        if self._counts:
            self.stream.codec_context.time_base = 1 / plan.filters.frame_rate
        if piped:  # the head of y4m has it as its frame rate
            self.stream.time_base = 1 / plan.filters.frame_rate

    def open(self) -> None:
        """Start the encoder; its extradata is there from now on."""
        plan = self._plan
        try:
            with ordinary_priority():
                self.stream.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            settings = " ".join(f"{name}={value}" for name, value in plan.options.items())
            raise ArgumentError(
                f"codec: {plan.codec} refuses {plan.width}x{plan.height} {plan.pix_fmt} "
                f"with {settings or 'its defaults'}"
            ) from error

    @property
    def extradata(self) -> bytes:
        """What a decoder has to know before the first packet."""
        return bytes(self.stream.codec_context.extradata or b"")

    def close(self) -> None:
        """Nothing is left open."""

    def encode(self, picture: Picture) -> "list[av.Packet[Any]]":
        """The packets that are ready once ``picture``, an enlarged one, is in."""
        frame = make_frame(picture, self._plan)
        frame.pts, frame.time_base = picture.pts, self._plan.filters.time_base
        if picture.duration:
            frame.duration = picture.duration
        if self._counts:
            frame.pts, frame.time_base = self.frames, 1 / self._plan.filters.frame_rate
            frame.duration = 1
            self._times.append((picture.pts, picture.duration))
        self.frames += 1
        return self._timed(self.stream.encode(frame))

    def flush(self) -> "list[av.Packet[Any]]":
        """The packets of all pictures still inside."""
        packets = self._timed(self.stream.encode(None))
        if self.frames < _REORDERED:
            for packet in packets:
                packet.dts = packet.pts
        return packets

    def _timed(self, packets: "Iterable[av.Packet[Any]]") -> "list[av.Packet[Any]]":
        """``packets`` with the times of the source, where the encoder counted pictures."""
        packets = list(packets)
        if self._counts:
            for packet in packets:
                assert packet.pts is not None and packet.dts is not None
                packet.dts = self._times[max(packet.dts, 0)][0] + min(packet.dts, 0)
                packet.pts, packet.duration = self._times[packet.pts]
                packet.time_base = self._plan.filters.time_base
        return packets


def make_encoder(plan: Plan, out: OutputContainer) -> "VideoEncoder | FfmpegEncoder":
    """What encodes ``plan``, as a stream of ``out``, whose head is not written yet."""
    if plan.program is None:
        return VideoEncoder(plan, out)
    from lkdn_media.ffmpeg_encoder import FfmpegEncoder  # it makes its frames as we do

    return FfmpegEncoder(plan, out)


class VideoWriter:
    """Writes ``plan`` to ``path``, a new file, or to an open ``pipe`` instead.

    Not finished until `finish` returns.

    Raises ``ArgumentError`` where the encoder refuses its settings.
    """

    def __init__(self, plan: Plan, path: Path, *, pipe: object = None) -> None:
        self._plan, self._path = plan, path
        self._start = round(plan.source.start / plan.filters.time_base)
        self._hundredths = Timeline(step=1)
        self._last = Fraction(0)  # how long the last picture is shown
        self._copier = StreamCopier(plan.source)
        self._opened = ExitStack()
        try:
            file = pipe or f"file:{path}"
            options = dict(_MUXER_OPTIONS.get(plan.container, {}))
            options |= KEYS if plan.keys else {}
            if plan.source.early and plan.source.span is None and plan.container in ("mp4", "mov"):
                options |= _NOTHING_EARLY
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
    def damaged(self) -> bool:
        """Whether a copied stream could not be read to its end."""
        return self._copier.damaged

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
            self._out.mux(packet)

    def finish(self) -> None:
        """Flush the encoder, copy what is left and close the file."""
        if self.frames:  # none where all packets came from elsewhere
            self.mux(self._encoder.flush())
        self._copier.advance(self._out, math.inf)
        self._copier.close()
        self._out.close()
        if self._plan.container == "apng" and self._last:
            write_last_delay(self._path, self._last)
        ratio = _shape_to_correct(self._plan)
        if ratio is not None:
            write_pixel_shape(self._path, ratio)

    def abandon(self) -> None:
        """Close the file as it is; it is good for nothing."""
        self._copier.close()
        self._opened.close()
        with suppress(av.FFmpegError, OSError):
            self._out.close()

    def _round(self, packet: "av.Packet[Any]") -> None:
        """Give ``packet`` times of GIF, which refuses two pictures in the same 1/100 s."""
        assert packet.pts is not None
        ticks = self._plan.filters.time_base * 100
        packet.pts = packet.dts = self._hundredths.place(round(packet.pts * ticks), 1)
        packet.duration = round((packet.duration or 0) * ticks)
        packet.time_base = Fraction(1, 100)

    def _add_streams(self) -> "VideoEncoder | FfmpegEncoder":
        """All streams in the order of the source, then chapters and tags."""
        plan, encoder = self._plan, None
        for info in plan.source.streams:
            if info.index == plan.source.video:
                encoder = make_encoder(plan, self._out)
                self._opened.callback(encoder.close)
                encoder.stream.metadata.update(stream_tags(info.tags))
                if _shape_to_correct(plan) is not None:
                    encoder.stream.metadata.update(STEREO)
                encoder.stream.disposition = info.disposition
            elif info.index in plan.copied:
                self._copier.add_to(self._out, info.index)
        assert encoder is not None
        self._out.set_chapters(list(plan.source.chapters))
        self._out.metadata.update(plan.metadata)
        return encoder


def _shape_to_correct(plan: Plan) -> Fraction | None:
    """The shape of pixels where only Matroska itself can tell it."""
    if plan.container not in ("matroska", "webm") or not plan.shape_in_container:
        return None
    if plan.source.stereo:  # the muxer's own fields are needed as they are
        return None
    return plan.sample_aspect_ratio


def make_frame(picture: Picture, plan: Plan) -> av.VideoFrame:
    """A frame of ``plan.width`` x ``plan.height`` with ``picture``, edges repeated to fill it."""
    tags, planes = plan.tags, picture.planes
    layout = nearest_planar(plan.pix_fmt)
    if picture.carrier is None:
        frame = av.VideoFrame(plan.width, plan.height, layout)
    else:
        # The only way to side data: they stay when libswscale makes a frame out of another.
        frame = picture.carrier.reformat(
            plan.width, plan.height, layout, interpolation="POINT", threads=1
        )
        frame.make_writable()
        frame.pict_type = PictureType.NONE
    if PLANAR[layout].alpha:
        opaque = np.full_like(planes[0], (1 << PLANAR[layout].bits) - 1)
        planes = [*planes, opaque if picture.alpha is None else picture.alpha]
    fill_planes(frame, planes, layout)
    frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
    frame.colorspace, frame.color_range = tags.matrix, tags.color_range
    frame.chroma_location = tags.chroma_location
    # The encoder may want another order of the same samples.
    return paletted(frame) if plan.pix_fmt == PALETTE else repacked(frame, plan.pix_fmt)


def _add_video(out: OutputContainer, plan: Plan) -> av.VideoStream:
    try:
        stream = out.add_stream(
            plan.codec,
            rate=plan.filters.frame_rate,
            options=plan.options,
            width=plan.width,
            height=plan.height,
        )
    except ValueError as error:
        raise ArgumentError(f"codec: {plan.container} can't hold {plan.codec}") from error
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.pix_fmt = plan.pix_fmt
    context.time_base = stream.time_base = plan.filters.time_base
    context.flags |= Flags.frame_duration
    label_stream(stream, plan)
    return stream


def label_stream(stream: av.VideoStream, plan: Plan) -> None:
    """Tell ``stream``, whose head is not written yet, what its pictures mean."""
    context, tags = stream.codec_context, plan.tags
    if plan.sample_aspect_ratio is not None:
        context.sample_aspect_ratio = plan.sample_aspect_ratio
    context.color_primaries, context.color_trc = tags.primaries, tags.transfer
    context.colorspace, context.color_range = tags.matrix, tags.color_range
    context.chroma_sample_location = tags.chroma_location
    if context.codec.canonical_name == "hevc" and plan.container in ("mp4", "mov"):
        context.codec_tag = _HEVC_TAG
    stream.set_display_matrix(plan.source.display_matrix)
