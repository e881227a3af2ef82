"""What a video file holds, found out by opening it and decoding its first frames."""

import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.rational import AVRational
from av.sidedata.sidedata import Type as SideData
from av.stream import Discard, Stream

from lkdn_core.errors import LKDNError
from lkdn_media.crop import without_edges
from lkdn_media.demux import (
    codec_name,
    is_animated_avif,
    is_cover,
    is_repeat,
    main_video,
    open_decoder,
    open_media,
)
from lkdn_media.formats import ColourTags, has_alpha, nearest_planar
from lkdn_media.matroska_head import MatroskaHead, read_head
from lkdn_media.mp4_head import track_end
from lkdn_media.palette import PALETTE
from lkdn_media.planes import is_transparent
from lkdn_media.side_data import (
    DOLBY_VISION,
    TIMECODE,
    has_captions,
    has_profile,
    may_have_fields,
    readable,
    unfielded,
    unkept_in,
)
from lkdn_media.source import Source, StreamInfo

__all__ = ["probe"]

#: Of a group of MPEG-2 pictures that starts at 0 as all do that nobody gave a timecode.
_NO_TIMECODE: Final = (0, 1 << 12)
#: Decoders that give alpha whether there is any or not, as palettes have it always.
_OFTEN_OPAQUE: Final = {"apng", "bmp", "gif", "png", "qoi", "tiff", "webp", "webp_anim"}
#: AV_FIELD_PROGRESSIVE; what is greater names an order of fields.
_PROGRESSIVE: Final = 1
#: Seconds that no video lasts.
_LONGEST: Final = 10**9
#: How many frames are looked at for fields; telecine repeats after five.
_FIRST: Final = 16
_CYCLE: Final = 5


def probe(path: Path, *, opener: Callable[[], InputContainer] | None = None) -> Source:
    """Describe the video file at ``path``, or what ``opener`` opens and ``path`` names.

    Raises ``LKDNError`` where there is no picture in it.
    """
    opened = opener or partial(open_media, path)
    with opened() as container:
        stream = main_video(container, path)
        context = stream.codec_context
        first = [unfielded(f, context.name) for f in _first_frames(container, stream, path)]
        frame, fields = readable(first[0], context.name), [f.interlaced_frame for f in first]
        chapters = tuple(container.chapters())
        matrix = context.coded_side_data.get("display_matrix", b"")
        if not matrix and SideData.DISPLAYMATRIX in frame.side_data:
            matrix = bytes(frame.side_data[SideData.DISPLAYMATRIX])
        rate = _rate(stream)
        in_mov = "mov" in container.format.name
        in_file = opener is None and "matroska" in container.format.name
        shown = track_end(path, stream.id) if in_mov and opener is None else None
        end = _declared_end(container, stream)
        head = _matroska_head(container, path) if in_file else MatroskaHead()
        source = Source(
            path=path,
            container=container.format.name,
            video=stream.index,
            streams=_streams(container, stream),
            width=frame.width,
            height=frame.height,
            pix_fmt=frame.format.name,
            alpha=has_alpha(frame.format.name) and _is_transparent(opened, stream, frame),
            tags=ColourTags.of(frame),
            time_base=Fraction(stream.time_base.num, stream.time_base.den),
            frame_rate=rate,
            nominal_rate=_fraction(stream.guessed_rate) or rate,
            constant_rate=stream.base_rate == rate,
            sample_aspect_ratio=_fraction(stream.sample_aspect_ratio),
            display_matrix=struct.unpack("=9i", matrix) if len(matrix) == 36 else None,
            interlaced=any(fields)
            or (context.field_order > _PROGRESSIVE and may_have_fields(context.name)),
            telecined=_is_telecine(fields),
            frames=stream.frames or round((end or _seconds(container, stream)) * float(rate)),
            packets=len(stream.index_entries) if in_mov else 0,
            by_packets=in_mov,
            shown_end=round(shown / stream.time_base) if shown else None,
            declared_end=end,
            mastering_display=_side_data(frame, SideData.MASTERING_DISPLAY_METADATA),
            content_light=_side_data(frame, SideData.CONTENT_LIGHT_LEVEL),
            captions=any(has_captions(f, context.name) for f in first),
            unkept=_unkept(stream, frame, profile=has_profile(first[0], context.name)),
            stereo="stereo_3d" in context.coded_side_data or SideData.STEREO3D in frame.side_data,
            early=frame.pts is not None and frame.pts < 0,
            chapters=chapters,
            matroska=head,
            metadata=dict(container.metadata) | ({"title": head.title} if head.title else {}),
            clock_start=Fraction(container.start_time or 0, av.time_base),
            opener=opener,
        )
    return without_edges(source, context.coded_side_data.get("frame_cropping", b""))


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
            # A damaged start, after which a keyframe may do; or samples that nobody knows.
            with suppress(av.FFmpegError, ValueError):
                found += decoder.decode(packet)
            if len(found) >= wanted:
                break
    if not found:  # reading failed before the decoder was emptied
        with suppress(av.FFmpegError, ValueError):
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


def _streams(container: InputContainer, video: av.VideoStream) -> tuple[StreamInfo, ...]:
    """All streams; the ``video`` has the name of its reel, which MOV keeps with the timecode."""
    if is_animated_avif(container):
        return (_info(video),)  # beside the same as a still, and alpha
    infos = [_info(stream) for stream in container.streams]
    reels = [info.tags["reel_name"] for info in infos if info.rebuilt and "reel_name" in info.tags]
    if reels:
        main = infos[video.index]
        infos[video.index] = replace(main, tags={**main.tags, "reel_name": reels[0]})
    return tuple(infos)


def _info(stream: Stream) -> StreamInfo:
    context = stream.codec_context if stream.type != "attachment" else None
    timecode = stream.type == "data" and "timecode" in stream.metadata
    return StreamInfo(
        index=stream.index,
        kind=stream.type,
        codec=context.codec.canonical_name if context is not None else codec_name(stream),
        decoder=context.name if context is not None else "",
        tags=dict(stream.metadata),
        disposition=stream.disposition,
        cover=stream.type == "video" and is_cover(stream),
        rebuilt=timecode or (stream.type == "data" and stream.discard == Discard.all),
    )


def _unkept(stream: av.VideoStream, frame: av.VideoFrame, *, profile: bool) -> tuple[str, ...]:
    context, container = stream.codec_context, stream.container
    assert isinstance(container, InputContainer)
    found = unkept_in(frame, context.name)
    timecode = _side_data(frame, SideData.GOP_TIMECODE)
    if timecode and int.from_bytes(timecode, sys.byteorder) not in _NO_TIMECODE:
        found.append(TIMECODE)
    if "dovi_conf" in context.coded_side_data and DOLBY_VISION not in found:
        found.append(DOLBY_VISION)
    if profile:
        found.append("the ICC colour profile of the pictures")
    if is_animated_avif(container) and len(container.streams.video) > 2:
        found.append("the transparency of AVIF")
    return tuple(found)


def _matroska_head(container: InputContainer, path: Path) -> MatroskaHead:
    # Pictures among the attachments are streams of video to FFmpeg.
    tracks = [s for s in container.streams if s.type != "attachment" and not is_cover(s)]
    return read_head(path, streams=len(tracks), chapters=len(container.chapters()))


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
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (ValueError, OverflowError):
        return None
    if not 0 < end < _LONGEST:  # FFmpeg's own muxer wrote -nan at times
        return None
    # What cuts such a file may copy the tag, too.
    return min(end, container.duration / av.time_base) if container.duration else end


def _rate(stream: av.VideoStream) -> Fraction:
    """Frames a second, on average: of DV FFmpeg says a frame a tick, and guesses better."""
    average, guessed = stream.average_rate, stream.guessed_rate
    doubtful = not average or (guessed and average > 2 * guessed)
    return _fraction(guessed if doubtful else average) or Fraction(25)


def _fraction(number: AVRational | None) -> Fraction | None:
    return Fraction(number.num, number.den) if number else None


def _seconds(container: InputContainer, stream: av.VideoStream) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _side_data(frame: av.VideoFrame, kind: SideData) -> bytes:
    return bytes(frame.side_data[kind]) if kind in frame.side_data else b""
