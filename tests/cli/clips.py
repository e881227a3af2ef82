"""Tiny clips with known content, made with PyAV; nothing here reads a file from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from numpy.typing import NDArray

__all__ = ["Clip", "Tags", "caption", "make_clip", "picture", "samples"]

ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 34\r\nPlayResY: 26\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\nStyle: Default,Tiny,8\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
    b"\r\n"
)


@dataclass(frozen=True)
class Tags:
    """Colour tags as FFmpeg numbers; 2 (0 for range and location) means not tagged."""

    primaries: int = ColorPrimaries.BT709
    transfer: int = ColorTrc.BT709
    matrix: int = 1
    color_range: int = ColorRange.MPEG
    chroma_location: int = 1

    @classmethod
    def none(cls) -> Tags:
        return cls(2, 2, 2, 0, 0)


@dataclass
class Clip:
    """What to put into a clip. ``pts`` and ``durations`` are in ``time_base`` units."""

    size: tuple[int, int] = (34, 26)  # width, height
    pix_fmt: str = "yuv420p"
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=lambda: {"qp": "0", "preset": "veryfast"})
    fields: str | None = None  # "tff", "bff", "telecine" or "flagged telecine", all as "tff"
    rate: Fraction = Fraction(25)
    time_base: Fraction = Fraction(1, 25)
    pts: Sequence[int] = tuple(range(7))
    durations: Sequence[int] | None = None
    tags: Tags = Tags()
    sar: Fraction | None = None
    rotation: int | None = None  # degrees counter-clockwise
    audio: Sequence[dict[str, str]] = ()  # one track each, with this metadata
    audio_codec: str = "aac"
    audio_start: int = 0  # samples
    subtitles: str | None = None  # "ass", "subrip" or "mov_text"
    captions: bool = False  # in H.264 and HEVC
    message: tuple[int, bytes] | None = None  # an SEI message in its place: type and payload
    silent: int = 0  # before this pts there are none
    attachment: bytes | None = None
    cover: bool = False
    cover_codec: str = "mjpeg"
    chapters: Sequence[tuple[int, int, str]] = ()  # ms, ms, title
    metadata: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)


def make_clip(path: Path, clip: Clip | None = None) -> Path:
    """Write ``clip`` to ``path``; the container follows the name."""
    clip = clip or Clip()
    with av.open(str(path), "w", container_options=clip.container_options) as out:
        out.metadata.update(clip.metadata)
        packets = _video(out, clip)
        for number, metadata in enumerate(clip.audio):
            packets += _audio(out, clip, number, metadata)
        if clip.subtitles:
            packets += _subtitles(out, clip.subtitles)
        if clip.cover and path.suffix == ".mkv":  # Matroska covers are attachments
            out.add_attachment("cover.jpg", "image/jpeg", cover_jpeg())
        elif clip.cover:
            packets += _cover(out, clip.cover_codec)
        if clip.attachment is not None:
            out.add_attachment("tiny.ttf", "application/x-truetype-font", clip.attachment)
        out.set_chapters(
            [
                {
                    "id": i,
                    "start": a,
                    "end": b,
                    "time_base": Fraction(1, 1000),  # type: ignore[typeddict-item]
                    "metadata": {"title": title},
                }
                for i, (a, b, title) in enumerate(clip.chapters)
            ]
        )
        out.start_encoding()
        for packet in packets:
            out.mux(packet)
    return path


def samples(pix_fmt: str, width: int, height: int, number: int) -> list[NDArray[Any]]:
    """Planes of a smooth moving picture in ``pix_fmt`` (planar), whose colours all are RGB ones."""
    fmt = av.VideoFormat(pix_fmt, width, height)
    planes = []
    for c in sorted(fmt.components, key=lambda c: c.plane):
        y, x = np.mgrid[0 : c.height, 0 : c.width]
        wave = np.sin((x + 2 * number) / 5 + c.plane) * np.cos((y - number) / 4)
        dtype = np.uint8 if c.bits == 8 else np.uint16
        is_chroma = c.index in (1, 2) and not fmt.is_rgb  # PyAV's own only knows subsampled ones
        values = 128 + (20 if is_chroma else 60) * wave
        planes.append(np.round(values * 2 ** (c.bits - 8)).astype(dtype))
    return planes


def picture(pix_fmt: str, width: int, height: int, number: int) -> av.VideoFrame:
    """:func:`samples` as a frame without a timestamp."""
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, samples(pix_fmt, width, height, number), strict=True):
        rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
        rows[:, : values.shape[1]] = values
    return frame


def film(clip: Clip) -> Iterator[av.VideoFrame]:
    """The pictures of ``clip`` without times; fields as it says.

    Telecine makes 5 frames of 4; only those of mixed fields are flagged unless it says otherwise.
    """
    (width, height), count = clip.size, len(clip.pts)
    telecine = clip.fields is not None and "telecine" in clip.fields

    def sources(number: int) -> tuple[int, int]:
        if telecine:
            cycle, place = divmod(number, 5)
            return 4 * cycle + (0, 1, 1, 2, 3)[place], 4 * cycle + (0, 1, 2, 3, 3)[place]
        return (number, number) if clip.fields is None else (2 * number, 2 * number + 1)

    for number in range(count):
        top, bottom = sources(number)
        if clip.fields == "bff":
            top, bottom = bottom, top
        frame = picture(clip.pix_fmt, width, height, top)
        below = picture(clip.pix_fmt, width, height, bottom)
        for plane, other in zip(frame.planes, below.planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            rows[1::2] = np.frombuffer(other, np.uint8).reshape(plane.height, -1)[1::2]
        if clip.fields is None or (clip.fields == "telecine" and top == bottom):
            yield frame
        else:
            yield flagged(frame, clip.fields)


def flagged(frame: av.VideoFrame, fields: str) -> av.VideoFrame:
    """``frame`` marked as interlaced."""
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(frame, time_base=Fraction(1, 25)),
        graph.add("setfield", "bff" if fields == "bff" else "tff"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    graph.vpush(frame)
    return graph.vpull()


def _video(out: av.container.OutputContainer, clip: Clip) -> list[av.Packet[Any]]:
    width, height = clip.size
    rate, options = clip.rate, dict(clip.options)
    stream = out.add_stream(clip.codec, rate=rate, width=width, height=height, options=options)
    assert isinstance(stream, av.VideoStream)
    context, tags = stream.codec_context, clip.tags
    context.pix_fmt = clip.pix_fmt
    context.time_base = stream.time_base = clip.time_base
    context.flags |= av.codec.context.Flags.frame_duration
    context.color_primaries, context.color_trc = tags.primaries, tags.transfer
    context.colorspace, context.color_range = tags.matrix, tags.color_range
    context.chroma_sample_location = tags.chroma_location
    if clip.sar:
        context.sample_aspect_ratio = clip.sar
    if clip.rotation is not None:
        stream.set_display_rotation(clip.rotation)
    packets: list[av.Packet[Any]] = []
    for i, (pts, frame) in enumerate(zip(clip.pts, film(clip), strict=True)):
        frame.pts, frame.time_base = pts, clip.time_base
        frame.color_primaries, frame.color_trc = tags.primaries, tags.transfer
        frame.colorspace, frame.color_range = tags.matrix, tags.color_range
        frame.chroma_location = tags.chroma_location
        frame.duration = clip.durations[i] if clip.durations else 1
        packets += stream.encode(frame)
    packets += stream.encode(None)
    if not clip.captions and clip.message is None:
        return packets
    return [_with_message(p, clip) if p.pts is None or p.pts >= clip.silent else p for p in packets]


def caption(number: int) -> bytes:
    """CEA-608 text (odd parity) as frames carry it, different for each ``number``.

    One to three times one field: what re-times captions deals it out evenly.
    """
    field = bytes([0xFC, _odd_parity(0x41 + number), _odd_parity(0x62)])
    return field * (1 + number % 3)


def _odd_parity(code: int) -> int:
    return code | 0x80 * (code.bit_count() % 2 == 0)


def _with_message(packet: av.Packet[Any], clip: Clip) -> av.Packet[Any]:
    """``packet`` with an SEI message in front: `caption` of its pts (ATSC A/53), or the clip's."""
    assert packet.pts is not None
    text = caption(packet.pts)
    count = 0x40 | len(text) // 3
    captions = b"\xb5\x00\x31GA94\x03" + bytes([count, 0xFF]) + text + b"\xff"
    kind, payload = clip.message or (4, captions)
    head = b"\x4e\x01" if clip.codec == "libx265" else b"\x06"  # type of the NAL unit
    data = b"\0\0\0\1" + head + bytes([kind, len(payload)]) + payload + b"\x80"
    new: av.Packet[Any] = av.Packet(data + bytes(packet))
    new.stream, new.time_base, new.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
    return new


def _audio(
    out: av.container.OutputContainer, clip: Clip, number: int, metadata: dict[str, str]
) -> list[av.Packet[Any]]:
    stream = out.add_stream(clip.audio_codec, rate=48000)
    assert isinstance(stream, av.AudioStream)
    stream.metadata.update(metadata)
    stream.disposition = Disposition.default if number == 0 else Disposition.comment
    packets: list[av.Packet[Any]] = []
    for i in range(14):
        t = (np.arange(1024) + 1024 * i) / 48000
        tone = (0.2 * np.sin(2 * np.pi * 220 * (number + 1) * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
        frame.sample_rate, frame.pts = 48000, clip.audio_start + 1024 * i
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _subtitles(out: av.container.OutputContainer, codec: str) -> list[av.Packet[Any]]:
    if codec == "ass":
        stream: av.stream.Stream = out.add_stream(codec)
        stream.codec_context.extradata = ASS_HEADER
    else:
        stream = out.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "ger"
    stream.disposition = Disposition.forced
    packets = []
    for i in range(2):
        text = f"{i},0,Default,,0,0,0,,Zeile {i}" if codec == "ass" else f"Zeile {i}"
        data = text.encode()
        if codec == "mov_text":
            data = len(data).to_bytes(2) + data
        packet: av.Packet[Any] = av.Packet(data)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = 40 + 100 * i
        packet.duration = 90
        packets.append(packet)
    return packets


def cover_jpeg() -> bytes:
    """A small JPEG file."""
    return _cover_file("mjpeg")


def _cover_file(codec: str) -> bytes:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    pix_fmt = "gray" if codec == "png" else "yuvj420p"
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, pix_fmt
    encoder.time_base = Fraction(1, 25)
    frame = picture(pix_fmt, 16, 16, 0)
    frame.pts = 0
    return bytes(encoder.encode(frame)[0])


def _cover(out: av.container.OutputContainer, codec: str) -> list[av.Packet[Any]]:
    stream = out.add_mux_stream(codec, width=16, height=16)
    stream.disposition = Disposition.attached_pic
    packet: av.Packet[Any] = av.Packet(_cover_file(codec))
    packet.stream, packet.pts, packet.dts = stream, 0, 0
    packet.time_base = Fraction(1, 90000)
    return [packet]
