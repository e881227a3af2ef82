"""Frames and sound that a graph made itself, as a file."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from torch import Tensor

from lkdn_core import FrameFormat
from lkdn_core.color import from_rgb
from lkdn_core.errors import ArgumentError
from lkdn_media.planes import fill_planes

__all__ = ["write_clip"]

log = logging.getLogger(__name__)
#: Stored without loss, in finer steps than an 8-bit picture has.
_FORMAT: Final = FrameFormat(family="yuv", bits=10, color_range="limited")
_PIX_FMT: Final = "yuv444p10le"
#: Matrix, its number and that of the primaries, and the transfer's: BT.709, and by ComfyUI's names
#: BT.2020 with HLG or PQ.
_USUAL: Final = "bt709", 1, 1
_HDR: Final = {"HDR": ("bt2020nc", 9, 18), "HDR PQ": ("bt2020nc", 9, 16)}
#: Denominators of frame rates in use; a graph holds rates as floats.
_RATES: Final = 1001
_LAYOUTS: Final = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}


def write_clip(
    path: Path,
    images: Tensor,
    frame_rate: float | Fraction,
    sound: tuple[Tensor, int] | None,
    *,
    color_space: str = "sRGB",
    progress: Callable[[], object],
) -> None:
    """Store frames (B, H, W, C) in [0, 1] as YUV 4:4:4 of 10 bits, and sound as AAC.

    ``sound``: samples (channels, T) and their rate in Hz; it ends with the last frame, as where
    ComfyUI saves a video itself. ``path`` ends in ``.mp4``. One frame is in work at a time;
    ``progress`` is called before each, and what it raises ends the work. Transparency is not kept.
    ``color_space``: of the frames, as ComfyUI names it. Raises ``ArgumentError`` for no frame, a
    frame rate that is none, and a rate that AAC lacks.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or 0 in shape:
        raise ArgumentError(f"video: frames (B, H, W, C), one or more, are accepted, got {shape}")
    number = float(frame_rate)
    rate = Fraction(number if math.isfinite(number) else 0).limit_denominator(_RATES)
    if rate <= 0:
        raise ArgumentError(f"video: frames a second above 0 are accepted, got {frame_rate}")
    height, width = shape[1:3]
    with av.open(str(path), "w") as out:
        video = out.add_stream(
            "libx264",
            rate=rate,
            width=width,
            height=height,
            pix_fmt=_PIX_FMT,
            options={"qp": "0", "preset": "ultrafast"},
        )
        video.codec_context.time_base = video.time_base = 1 / rate
        _tag(video.codec_context, color_space)
        packets: Iterator[av.Packet[Any]] = iter(())
        if sound is not None:
            samples, hertz = sound
            packets = _encode_sound(out, samples[:, : math.ceil(len(images) * hertz / rate)], hertz)
        after = next(packets, None)
        for number, image in enumerate(images):
            progress()
            while after is not None and _seconds(after) < number / rate:
                out.mux(after)
                after = next(packets, None)
            frame = _frame(image, color_space)
            frame.pts, frame.time_base = number, 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        while after is not None:
            out.mux(after)
            after = next(packets, None)


def _seconds(packet: "av.Packet[Any]") -> float:
    return float(packet.dts * packet.time_base)  # type: ignore[operator]


def _frame(image: Tensor, color_space: str) -> av.VideoFrame:
    """One picture (H, W, C) as a frame."""
    rgb = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(-1, -1, 3)
    format = replace(_FORMAT, matrix=_HDR.get(color_space, _USUAL)[0])
    planes = from_rgb(rgb.movedim(-1, 0)[None].cpu(), format)
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, _PIX_FMT)
    fill_planes(frame, [plane[0].numpy() for plane in planes], _PIX_FMT)
    _tag(frame, color_space)
    return frame


def _tag(pictures: av.VideoFrame | av.VideoCodecContext, color_space: str) -> None:
    _, pictures.colorspace, pictures.color_trc = _HDR.get(color_space, _USUAL)
    pictures.color_primaries = pictures.colorspace
    pictures.color_range = av.video.reformatter.ColorRange.MPEG


def _encode_sound(
    out: av.container.OutputContainer, samples: Tensor, rate: int
) -> "Iterator[av.Packet[Any]]":
    """AAC packets of ``samples`` (channels, T), made as they are asked for."""
    rates = av.Codec("aac", "w").audio_rates or []
    if rate not in rates:
        accepted = ", ".join(map(str, sorted(rates)))
        raise ArgumentError(f"audio: a sample rate of {accepted} Hz is accepted, got {rate}")
    layout = _LAYOUTS.get(samples.shape[0], "stereo")
    stream = out.add_stream("aac", rate=rate, layout=layout)
    if samples.shape[0] not in _LAYOUTS:
        log.warning("audio: of %d channels the first alone is kept", samples.shape[0])
        samples = samples[:1].expand(2, -1)

    def packets() -> "Iterator[av.Packet[Any]]":
        for at in range(0, samples.shape[1], rate):
            part = samples[:, at : at + rate].float().nan_to_num(0, 1, -1).cpu().contiguous()
            frame = av.AudioFrame.from_ndarray(part.numpy(), "fltp", layout)
            frame.sample_rate, frame.pts = rate, at
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()
