"""What a video file holds, found out by opening it and decoding its first frame."""

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Discard, Disposition, Stream

from lkdn_core.errors import LKDNError
from lkdn_media.demux import JOINED, is_repeat, main_video, open_decoder, open_media
from lkdn_media.formats import ColourTags, has_alpha, nearest_planar, without_alpha
from lkdn_media.palette import PALETTE
from lkdn_media.planes import is_transparent

if TYPE_CHECKING:
    from av.container.core import Chapter

__all__ = ["FfmpegFilter", "Source", "Span", "StreamInfo", "probe"]

_DYNAMIC: Final = {
    SideData.SPHERICAL: "the spherical projection",
    SideData.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    SideData.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    SideData.DOVI_METADATA: "Dolby Vision metadata",
}
#: Decoders that give alpha whether there is any or not, as palettes have it always.
_OFTEN_OPAQUE: Final = {"apng", "bmp", "gif", "png", "qoi", "tiff", "webp", "webp_anim"}
#: AV_FIELD_PROGRESSIVE; what is greater names an order of fields.
_PROGRESSIVE: Final = 1
#: How many frames are looked at for fields; telecine repeats after five.
_FIRST: Final = 16
_CYCLE: Final = 5
Kind = Literal["video", "audio", "subtitle", "attachment", "data", "unknown"]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream. ``cover``: a still picture. ``rebuilt``: the muxer makes it (chapters, timecode).

    ``codec``: for an attachment, its file name.
    """

    index: int
    kind: Kind
    codec: str
    tags: Mapping[str, str]
    disposition: Disposition
    cover: bool
    rebuilt: bool

    def __str__(self) -> str:
        kind = "cover" if self.cover else self.kind
        language = self.tags.get("language", "").replace("und", "")
        return " ".join(filter(None, (f"#{self.index}", kind, self.codec, language)))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video, in ticks of its time base: ``first`` to before ``end``, if there is one.

    ``first`` becomes 0 in what is written.
    """

    first: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class FfmpegFilter:
    """``filters``, in FFmpeg's notation, run by ``program``, the path of an ffmpeg.

    ``combed``: interlaced pictures go through them, and none makes those whole.
    """

    program: str
    filters: str
    combed: bool = False

    def names(self, *parts: str) -> bool:
        """Whether one of ``parts`` of names is among them."""
        return any(part in self.filters for part in parts)


@dataclass(frozen=True, slots=True)
class Source:
    """A video file. Sizes are pixels of the decoded pictures, before any rotation for display.

    ``video``: index of the stream to enlarge. ``frames``: expected number, 0 when not known.
    ``alpha``: the pictures are transparent somewhere, or may be.
    ``constant_rate``: by what the container says of its frame rates.
    ``sample_aspect_ratio``: ``None`` when not tagged.
    ``declared_end``: end of the video in seconds as the file's head says it, when it does.
    ``interlaced``: some frames are flagged so; ``telecined``: just those that telecine makes so.
    ``display_matrix``: nine integers, or ``None``. ``mastering_display`` and ``content_light``:
    FFmpeg's HDR10 structures, or ``b""``. ``captions``: there are some inside the
    pictures. ``unkept``: side data of the pictures, or of the container about them, we can't write.
    ``stereo``: the pictures hold two views. ``early``: the first is shown before time 0.
    ``origin``: seconds at which the clock of a recording, which says nothing, starts.
    ``span``: the part of the video that counts; ``None`` is all of it. ``hwaccel``: the kind of
    device that decodes it, see `lkdn_media.hwaccel`. ``ffmpeg_filter``: what pictures went through
    before they are as described here. ``opener``: opens what is no file of its own (a pipe,
    numbered pictures); ``path`` is only a name then.
    """

    path: Path
    container: str
    video: int
    streams: tuple[StreamInfo, ...]
    width: int
    height: int
    pix_fmt: str
    alpha: bool
    tags: ColourTags
    time_base: Fraction
    frame_rate: Fraction
    constant_rate: bool
    sample_aspect_ratio: Fraction | None
    display_matrix: tuple[int, ...] | None
    interlaced: bool
    telecined: bool
    frames: int
    packets: int
    declared_end: float | None
    mastering_display: bytes
    content_light: bytes
    captions: bool
    unkept: tuple[str, ...]
    stereo: bool
    early: bool
    chapters: "tuple[Chapter, ...]"
    metadata: Mapping[str, str]
    origin: Fraction = Fraction(0)
    span: Span | None = None
    hwaccel: str = "none"
    ffmpeg_filter: FfmpegFilter | None = None
    opener: Callable[[], InputContainer] | None = None

    def open(self, *, hwaccel: HWAccel | None = None) -> InputContainer:
        """Open the source anew. Raises ``LKDNError``."""
        return self.opener() if self.opener else open_media(self.path, hwaccel=hwaccel)

    @property
    def start(self) -> Fraction:
        """Seconds of the file's clock that become 0 in what is written."""
        return self.span.first * self.time_base if self.span else self.origin

    @property
    def decoder(self) -> str:
        """The name of the decoder of the video."""
        return next(stream.codec for stream in self.streams if stream.index == self.video)

    @property
    def layout(self) -> str:
        """The planar format the pictures are handled in, with alpha where there is any."""
        layout = nearest_planar(self.pix_fmt)
        return layout if self.alpha or not has_alpha(layout) else without_alpha(layout)


def probe(path: Path, *, opener: Callable[[], InputContainer] | None = None) -> Source:
    """Describe the video file at ``path``, or what ``opener`` opens and ``path`` names.

    Raises ``LKDNError`` where there is no picture in it.
    """
    opened = opener or partial(open_media, path)
    with opened() as container:
        stream = main_video(container, path)
        first = _first_frames(container, stream, path)
        frame, fields = first[0], [f.interlaced_frame for f in first]
        context = stream.codec_context
        chapters = tuple(container.chapters())
        matrix = context.coded_side_data.get("display_matrix", b"")
        if not matrix and SideData.DISPLAYMATRIX in frame.side_data:
            matrix = bytes(frame.side_data[SideData.DISPLAYMATRIX])
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        end = _declared_end(container, stream)
        return Source(
            path=path,
            container=container.format.name,
            video=stream.index,
            streams=tuple(_info(s) for s in container.streams),
            width=frame.width,
            height=frame.height,
            pix_fmt=frame.format.name,
            alpha=has_alpha(frame.format.name) and _is_transparent(opened, stream, frame),
            tags=ColourTags.of(frame),
            time_base=Fraction(stream.time_base.num, stream.time_base.den),
            frame_rate=Fraction(rate.numerator, rate.denominator),
            constant_rate=stream.average_rate == stream.base_rate,
            sample_aspect_ratio=_ratio(stream),
            display_matrix=struct.unpack("=9i", matrix) if len(matrix) == 36 else None,
            interlaced=any(fields) or context.field_order > _PROGRESSIVE,
            telecined=_is_telecine(fields),
            frames=stream.frames or round((end or _seconds(container, stream)) * float(rate)),
            packets=len(stream.index_entries) if "mov" in container.format.name else 0,
            declared_end=end,
            mastering_display=_side_data(frame, SideData.MASTERING_DISPLAY_METADATA),
            content_light=_side_data(frame, SideData.CONTENT_LIGHT_LEVEL),
            captions=any(SideData.A53_CC in f.side_data for f in first),
            unkept=_unkept(context, frame),
            stereo="stereo_3d" in context.coded_side_data or SideData.STEREO3D in frame.side_data,
            early=frame.pts is not None and frame.pts < 0,
            chapters=chapters,
            metadata=dict(container.metadata),
            origin=_origin(container),
            opener=opener,
        )


def _first_frames(
    container: InputContainer, stream: av.VideoStream, path: Path
) -> list[av.VideoFrame]:
    """The first frame, or the first few where they may be interlaced."""
    found: list[av.VideoFrame] = []
    decoder = open_decoder(stream)
    decoder.thread_count = 1  # several lose what lies near the damaged end of a short file
    wanted = 1 if stream.codec_context.field_order == _PROGRESSIVE else _FIRST
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            if is_repeat(packet):
                continue
            with suppress(av.FFmpegError):  # a damaged start; a later keyframe may do
                found += decoder.decode(packet)
            if len(found) >= wanted:
                break
    if not found:  # reading failed before the decoder was emptied
        with suppress(av.FFmpegError):
            found = decoder.decode(None)
    if not found:
        raise LKDNError(f"{path}: no frame of its video could be decoded")
    return found


def _is_transparent(
    opened: Callable[[], InputContainer], stream: av.VideoStream, first: av.VideoFrame
) -> bool:
    """Whether a format with alpha makes use of it, as most animated GIFs don't."""
    palette = first.format.name == PALETTE and stream.container.format.name != "rawvideo"  # a pipe
    if not palette and stream.codec_context.name not in _OFTEN_OPAQUE:
        return True
    layout = nearest_planar(first.format.name)
    with opened() as container, suppress(av.FFmpegError):
        frames = container.decode(container.streams[stream.index])
        return any(is_transparent(f, layout) for f in frames if isinstance(f, av.VideoFrame))
    return True


def _is_telecine(fields: list[bool]) -> bool:
    """Whether of every five frames the same two neighbours are interlaced."""
    cycles = [fields[i : i + _CYCLE] for i in range(0, len(fields) - _CYCLE + 1, _CYCLE)]
    if len(cycles) < 2 or any(cycle != cycles[0] for cycle in cycles):
        return False
    return any(
        [cycles[0][i - j] for j in range(_CYCLE)] == [True, True, False, False, False]
        for i in range(_CYCLE)
    )


def _info(stream: Stream) -> StreamInfo:
    context = stream.codec_context
    codec = context.name if context is not None else (stream.name or "")
    timecode = stream.type == "data" and "timecode" in stream.metadata
    return StreamInfo(
        index=stream.index,
        kind=stream.type,
        codec=codec if stream.type != "attachment" else (stream.name or ""),
        tags=dict(stream.metadata),
        disposition=stream.disposition,
        cover=stream.type == "video" and bool(stream.disposition & Disposition.attached_pic),
        rebuilt=timecode or (stream.type == "data" and stream.discard == Discard.all),
    )


def _unkept(context: av.VideoCodecContext, frame: av.VideoFrame) -> tuple[str, ...]:
    found = [name for kind, name in _DYNAMIC.items() if kind in frame.side_data]
    if "frame_cropping" in context.coded_side_data:
        found.append("the crop of the picture in its container")
    return tuple(found)


def _origin(container: InputContainer) -> Fraction:
    """Where a broadcast's clock starts, anywhere in 26.5 hours; a negative start stays."""
    if container.format.name not in JOINED:
        return Fraction(0)
    return Fraction(max(0, container.start_time or 0), 10**6)


def _declared_end(container: InputContainer, stream: av.VideoStream) -> float | None:
    """End of the video by the head of a Matroska file (the per-track tag all muxers write) or AVI.

    Other heads say it too, but MP4 is counted by packets.
    """
    if container.format.name == "avi" and stream.duration:
        return float(stream.duration * stream.time_base)
    if "matroska" not in container.format.name:
        return None  # FFmpeg copies the tag along, even where it cuts the file
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _seconds(container: InputContainer, stream: av.VideoStream) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _ratio(stream: av.VideoStream) -> Fraction | None:
    ratio = stream.sample_aspect_ratio
    return Fraction(ratio.num, ratio.den) if ratio and ratio.num and ratio.den else None


def _side_data(frame: av.VideoFrame, kind: SideData) -> bytes:
    return bytes(frame.side_data[kind]) if kind in frame.side_data else b""
