"""A clip out of a video file without a source plugin: PyAV decodes, one frame after another."""

from collections.abc import Iterator

import av
import numpy as np
import vapoursynth as vs

#: Decoded frames to keep, as VapourSynth asks for neighbours in any order.
KEPT = 32
FORMATS = {
    "yuv420p": vs.YUV420P8,
    "yuv422p": vs.YUV422P8,
    "yuv444p": vs.YUV444P8,
    "yuv420p10le": vs.YUV420P10,
    "yuv422p10le": vs.YUV422P10,
    "yuv444p10le": vs.YUV444P10,
}


def read_video(path: str) -> vs.VideoNode:
    """The first video stream of ``path``. Going back by more than 32 frames starts from the top."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        length = sum(packet.size > 0 for packet in container.demux(stream))
        layout, rate = stream.format, stream.average_rate
    if layout.name not in FORMATS:
        raise vs.Error(f"{path}: one of {', '.join(FORMATS)} is read, got {layout.name}")
    blank = vs.core.std.BlankClip(
        format=FORMATS[layout.name],
        width=layout.width,
        height=layout.height,
        length=length,
        fpsnum=rate.numerator,
        fpsden=rate.denominator,
    )
    kept: dict[int, av.VideoFrame] = {}
    frames: Iterator[tuple[int, av.VideoFrame]] = iter(())

    def picture(n: int) -> av.VideoFrame:
        nonlocal frames
        if n not in kept and (not kept or n < min(kept)):
            frames = enumerate(av.open(path).decode(video=0))
            kept.clear()
        while n not in kept:
            number, kept[number] = next(frames)
            kept.pop(number - KEPT, None)
        return kept[n]

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        decoded, frame = picture(n), f.copy()
        for source, target in zip(decoded.planes, map(np.asarray, frame), strict=True):
            rows = np.frombuffer(source, target.dtype).reshape(source.height, -1)
            target[:] = rows[:, : target.shape[1]]
        frame.props["_Matrix"] = int(decoded.colorspace)
        if decoded.color_range in {1, 2}:  # limited and full, as ffmpeg counts
            frame.props["_Range"] = int(decoded.color_range) - 1
        return frame

    return blank.std.ModifyFrame(blank, fill)
