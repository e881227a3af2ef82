"""Pictures encoded by PyAV: as frames, and as a stream of a file."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_options import writes_captions
from lkdn_media.encoders import opens
from lkdn_media.formats import PLANAR, nearest_planar, repacked
from lkdn_media.palette import PALETTE, Colours
from lkdn_media.pipes import PIPE_FORMATS
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture, fill_planes
from lkdn_media.priority import ordinary_priority
from lkdn_media.side_data import progressive

__all__ = ["VideoEncoder", "label_stream", "make_frame"]

#: HEVC in MP4 plays on Apple systems only under this name.
_HEVC_TAG: Final = "hvc1"
#: Codecs that only know frame rates, or have few bits for a time. Their encoders count pictures.
_COUNTING: Final = {
    *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"),
    *("h263", "h263p", "flv1", "rv10", "rv20"),
}
#: Pictures a second that FFmpeg names among those of MPEG-1, and refuses unless told not to.
_NOT_MPEG1: Final = 15
#: Shorter streams have no frames out of order, and x265 makes up their decoding times.
_REORDERED: Final = 3
#: Pixels a side below which SVT-AV1 writes past its own memory, which ends the process.
_LEAST_SVT: Final = 16


class VideoEncoder:
    """The encoder of ``plan``, as a stream of ``out``, whose head is not written yet.

    `open` raises ``ArgumentError`` where the encoder refuses its settings.
    """

    def __init__(self, plan: Plan, out: OutputContainer) -> None:
        self._plan, self._rate = plan, _counted_rate(plan)
        self.stream = _add_video(out, plan, self._rate)
        self.frames = 0
        self._colours = Colours()
        piped = plan.container in PIPE_FORMATS.values()
        self._counts = piped or self.stream.codec_context.codec.canonical_name in _COUNTING
        self._times: list[tuple[int, int]] = []  # (pts, duration) of counted pictures
        self._usual = round(1 / (plan.filters.frame_rate * plan.filters.time_base))
        if self._counts:
            self.stream.codec_context.time_base = 1 / self._rate
        if piped:  # the head of y4m has it as its frame rate
            self.stream.time_base = 1 / plan.filters.frame_rate

    def open(self) -> None:
        """Start the encoder; its extradata is there from now on."""
        plan = self._plan
        if plan.codec == "libsvtav1" and min(plan.width, plan.height) < _LEAST_SVT:
            least = f"{_LEAST_SVT}x{_LEAST_SVT}"
            size = f"{plan.width}x{plan.height}"
            raise ArgumentError(f"codec: libsvtav1 takes pictures of {least} and more, got {size}")
        try:
            with ordinary_priority():
                self.stream.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            if not opens(plan.codec, plan.pix_fmt):
                raise ArgumentError(
                    f"codec: {plan.codec} does not work on this machine; lkdn-video --list codecs "
                    "says which do"
                ) from error
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
        if self._plan.pix_fmt == PALETTE:
            frame = self._colours.drawn(frame)
        frame.pts, frame.time_base = picture.pts, self._plan.filters.time_base
        if picture.duration:
            frame.duration = picture.duration
        if self._counts:
            frame.pts, frame.time_base = self.frames, 1 / self._rate
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
                before = min(packet.dts, 0) * self._usual
                packet.dts = self._times[max(packet.dts, 0)][0] + before
                packet.pts, packet.duration = self._times[packet.pts]
                packet.time_base = self._plan.filters.time_base
        return packets


def make_frame(picture: Picture, plan: Plan) -> av.VideoFrame:
    """A frame of ``plan.width`` x ``plan.height`` with ``picture``, edges repeated to fill it.

    It is in ``plan.pix_fmt``, but in all its colours where that has a palette.
    """
    tags, planes = plan.tags, picture.planes
    layout = nearest_planar(plan.pix_fmt)
    if picture.carrier is None or not writes_captions(plan.codec):
        frame = av.VideoFrame(plan.width, plan.height, layout)
    else:
        # The only way to side data: they stay when libswscale makes a frame out of another.
        frame = progressive(picture.carrier).reformat(
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
    return frame if plan.pix_fmt == PALETTE else repacked(frame, plan.pix_fmt)


def _counted_rate(plan: Plan) -> Fraction:
    """Pictures a second as the encoder counts them: MPEG-1 and MPEG-2 know certain rates only."""
    rate, known = plan.filters.frame_rate, av.Codec(plan.codec, "w").frame_rates or ()
    rates = [Fraction(one.numerator, one.denominator) for one in known]
    if plan.codec == "mpeg1video":
        rates = [one for one in rates if one > _NOT_MPEG1]
    return min(rates, key=lambda one: abs(one - rate), default=rate)


def _add_video(out: OutputContainer, plan: Plan, rate: Fraction) -> av.VideoStream:
    try:
        stream = out.add_stream(
            plan.codec,
            rate=rate,
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
    if not plan.upright:
        stream.set_display_matrix(plan.source.display_matrix)
