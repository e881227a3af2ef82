"""Pictures through a lossy codec and back, in memory: what compression does to them."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final

import av
import numpy as np
import torch
from torch import Tensor

from lkdn_core.color import from_rgb, to_rgb
from lkdn_core.errors import FormatError
from lkdn_core.formats import FrameFormat
from lkdn_media.planes import fill_planes, planes_of

__all__ = ["CODECS", "VIDEO_FORMAT", "compress"]

#: Encoders and the decoders that read them.
CODECS: Final = {
    "libx264": "h264",
    "libx265": "hevc",
    "mpeg2video": "mpeg2video",
    "mjpeg": "mjpeg",
}
#: What nearly all video is: 4:2:0 of 8 bits in limited range.
VIDEO_FORMAT: Final = FrameFormat(
    family="yuv",
    subsampling=(1, 1),
    matrix="bt709",
    color_range="limited",
    chroma_location="left",
)
_RATE: Final = 25
_PIX_FMT: Final = "yuv420p"


def compress(
    pictures: Tensor, *, codec: str = "", options: Mapping[str, str] | None = None
) -> Tensor:
    """RGB pictures (T, 3, H, W) in [0, 1], H and W even, as a player decodes and converts them.

    They become 4:2:0 of 8 bits, are encoded as one sequence of 25 frames a second by ``codec`` (a
    key of `CODECS`, ``""`` for none) with its ``options``, and come back as float32 RGB.
    """
    if pictures.shape[-1] % 2 or pictures.shape[-2] % 2:
        raise FormatError(f"pictures: even sizes are accepted, got {tuple(pictures.shape)}")
    planes = [plane.numpy() for plane in from_rgb(pictures, VIDEO_FORMAT)]
    if codec:
        frames = [_frame([p[i] for p in planes]) for i in range(len(pictures))]
        decoded = [planes_of(f, _PIX_FMT) for f in _coded(frames, codec, options or {})]
        if len(decoded) != len(frames):
            raise FormatError(f"codec: {codec} gave {len(decoded)} of {len(frames)} frames back")
        planes = [np.stack(same) for same in zip(*decoded, strict=True)]
    return to_rgb([torch.from_numpy(p) for p in planes], VIDEO_FORMAT)


def _coded(
    frames: list[av.VideoFrame], codec: str, options: Mapping[str, str]
) -> Iterator[av.VideoFrame]:
    """``frames`` encoded and decoded again, in display order."""
    encoder = av.CodecContext.create(codec, "w")
    decoder = av.CodecContext.create(CODECS[codec], "r")
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height = frames[0].width, frames[0].height
    encoder.pix_fmt = _PIX_FMT
    encoder.color_range = 1  # limited; JPEG otherwise insists on full range
    encoder.framerate, encoder.time_base = Fraction(_RATE), Fraction(1, _RATE)
    # One thread: the same bits on every machine.
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = {"strict": "unofficial", **_quiet(codec), **options}
    for i, frame in enumerate([*frames, None]):
        if frame is not None:
            frame.pts, frame.time_base = i, encoder.time_base
        for packet in encoder.encode(frame):
            yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _quiet(codec: str) -> dict[str, str]:
    """x265 talks on stderr and takes all cores, and its ``cutree`` breaks on tiny pictures.

    x264's, ``mbtree``, chooses otherwise from run to run, as x265 does below some 64 pixels.
    """
    x265 = "log-level=none:pools=none:frame-threads=1:cutree=0"
    params = {"libx264": {"x264-params": "mbtree=0"}, "libx265": {"x265-params": x265}}
    return params.get(codec, {})


def _frame(planes: list[np.ndarray]) -> av.VideoFrame:
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, _PIX_FMT)
    fill_planes(frame, planes, _PIX_FMT)
    frame.color_range = 1
    return frame
