"""Pictures through filters of the user's own ffmpeg, on their way to the network."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any, Final

import av

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.demux import ALPHA_DECODERS, JOINED, read_packets
from lkdn_media.ffmpeg import FfmpegProcess
from lkdn_media.formats import ColourTags, has_alpha, nearest_planar
from lkdn_media.planes import is_transparent
from lkdn_media.source import Crop, FfmpegFilter, Source

__all__ = ["filtered_frames", "through_filter"]

_QUIET: Final = ("-hide_banner", "-nostdin", "-v", "error")
#: Filters may make frames that fall between the ticks of AVI, which are its frames.
_COARSEST: Final = Fraction(1, 10000)
#: In the names of filters that make whole pictures of fields.
_DEINTERLACERS: Final = ("bwdif", "yadif", "w3fdif", "estdif", "nnedi", "deint", "field", "pullup")
#: What pictures on their way through another program leave behind.
_CAPTIONS: Final = "closed captions inside pictures that go through --ffmpeg-vf"
_WITH_CAPTIONS: Final = ("h264", "hevc", "mpeg2video", "av1", "libdav1d")
#: How they begin in the packets of all of these (ATSC A/53, user data of type 3).
_ATSC_CAPTIONS: Final = b"GA94\x03"
#: Packets in which they are looked for, some minutes.
_LOOKED_AT: Final = 5000


def through_filter(source: Source, filter: FfmpegFilter) -> Source:
    """``source`` as it is once its pictures went through ``filter``.

    Raises ``ArgumentError`` where ffmpeg can't make sense of the filters.
    """
    frame, ratio, rate = _first_frame(source, filter, codec="rawvideo", format="nut")
    # NUT has exact times but no colours, Matroska has colours.
    tags = ColourTags.of(_first_frame(source, filter, codec="ffv1", format="matroska")[0])
    same_light = tags.transfer == source.tags.transfer
    return replace(
        source,
        ffmpeg_filter=replace(
            filter, combed=source.interlaced and not filter.names(*_DEINTERLACERS)
        ),
        width=frame.width,
        height=frame.height,
        crop=Crop(),  # ffmpeg has done what the container says
        pix_fmt=frame.format.name,
        alpha=_has_alpha(source, frame),
        tags=tags,
        sample_aspect_ratio=ratio,
        time_base=source.time_base / max(1, math.ceil(source.time_base / _COARSEST)),
        frame_rate=rate,
        nominal_rate=rate,
        frames=round(source.frames * rate / source.frame_rate),
        packets=0,
        declared_end=None,  # filters may shorten it
        interlaced=False,
        telecined=False,
        captions=False,
        unkept=(*source.unkept, _CAPTIONS) if _has_captions(source) else source.unkept,
        mastering_display=source.mastering_display if same_light else b"",
        content_light=source.content_light if same_light else b"",
    )


def filtered_frames(source: Source, filter: FfmpegFilter) -> Iterator[av.VideoFrame]:
    """All frames of ``source`` through ``filter``, with times in its time base.

    Raises ``LKDNError`` where ffmpeg fails.
    """
    process = FfmpegProcess(_arguments(source, filter, codec="rawvideo", format="nut"))
    start = _start(source) if _closes_joints(source) else Fraction(0)
    try:
        previous = None
        try:
            with av.open(process.output, "r", format="nut") as container:
                for frame in container.decode(video=0):
                    base = frame.time_base
                    if frame.pts is not None:
                        frame.pts = round((frame.pts * base + start) / source.time_base)
                    frame.duration = round(frame.duration * base / source.time_base)
                    frame.time_base = source.time_base
                    if previous is not None:
                        _lengthen(previous, frame)
                        yield previous
                    previous = frame
        except av.FFmpegError as error:
            why = f"its pictures can't be read ({error}), as where filters change their size midway"
            raise LKDNError(f"ffmpeg: {process.words() or why}") from error
        if previous is not None:
            yield previous
        process.finish()
    finally:
        process.abandon()


def _closes_joints(source: Source) -> bool:
    """Whether the clock of ``source`` is to be mended, as ffmpeg does if it may start it at 0."""
    return source.container in JOINED and not source.early


def _start(source: Source) -> Fraction:
    """What ffmpeg calls 0: where the video starts, as it is given nothing else."""
    with source.open() as container:
        stream = container.streams[source.video]
        ticks, base = stream.start_time, Fraction(stream.time_base.num, stream.time_base.den)
    return source.origin if ticks is None else ticks * base


def _has_captions(source: Source) -> bool:
    """Whether there are captions near the beginning; what comes back from ffmpeg doesn't tell."""
    if source.captions or source.decoder not in _WITH_CAPTIONS:
        return source.captions
    with source.open() as container, suppress(av.FFmpegError):
        packets = islice(read_packets(container, {source.video}), _LOOKED_AT)
        return any(_ATSC_CAPTIONS in bytes(packet) for packet in packets)
    return False


def _has_alpha(source: Source, first: av.VideoFrame) -> bool:
    """Whether filtered pictures may be transparent; where the format stays, the first one tells."""
    name = first.format.name
    if not has_alpha(name):
        return False
    return source.alpha or name != source.pix_fmt or is_transparent(first, nearest_planar(name))


def _lengthen(frame: av.VideoFrame, following: av.VideoFrame) -> None:
    """NUT has no durations; a frame lasts until the next one."""
    if frame.pts is not None and following.pts is not None and following.pts > frame.pts:
        frame.duration = following.pts - frame.pts


def _first_frame(
    source: Source, filter: FfmpegFilter, *, codec: str, format: str
) -> tuple[av.VideoFrame, Fraction | None, Fraction]:
    """The first frame, the shape of pixels and the frame rate behind ``filter``."""
    process = FfmpegProcess(_arguments(source, filter, codec=codec, format=format, frames=1))
    try:
        with av.open(process.output, "r", format=format) as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            ratio = stream.sample_aspect_ratio
            # One frame has no average.
            rate = stream.average_rate or stream.guessed_rate or source.frame_rate
            return (
                frame,
                Fraction(ratio.num, ratio.den) if ratio else None,
                Fraction(rate.numerator, rate.denominator),
            )
    except (av.FFmpegError, StopIteration) as error:
        words = process.words() or "no frame comes out"
        raise ArgumentError(f"ffmpeg_vf: {words} (got {filter.filters!r})") from error
    finally:
        process.abandon()


def _arguments(
    source: Source, filter: FfmpegFilter, *, codec: str, format: str, frames: int | None = None
) -> list[str]:
    """The command: the video alone, each frame with its own time, upright or not as stored."""
    import ffmpeg  # here, so that a front end without filters runs without it

    base = source.time_base
    reading: dict[str, Any] = {} if _closes_joints(source) else {"copyts": None}
    if source.alpha and source.decoder in ALPHA_DECODERS:
        reading["vcodec"] = ALPHA_DECODERS[source.decoder]
    picture = ffmpeg.input(f"file:{source.path}", noautorotate=None, **reading)[str(source.video)]
    times = {"fps_mode": "passthrough", "enc_time_base": f"{base.numerator}/{base.denominator}"}
    output = {"c": codec, "f": format, "vf": filter.filters}
    count = {} if frames is None else {"vframes": frames}
    command = ffmpeg.output(picture, "pipe:1", **output, **times, **count)
    arguments: list[str] = command.global_args(*_QUIET).compile(cmd=filter.program)
    return arguments
