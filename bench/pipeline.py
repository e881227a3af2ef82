"""The pipeline beside decoding and encoding alone, with a network that only repeats pixels.

    python bench/pipeline.py --width 960 --height 540 --frames 96

"PyAV alone" decodes, lets libswscale repeat the pixels, and encodes, in one loop. The other ways
are ours: the repetition done on planes costs as little as that of libswscale, so what is left is
the pipeline itself; done by a stand-in for the network, planes are turned into float RGB and back
as well.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.frame import PictureType
from torch import Tensor

from lkdn_cli.benchmark.timing import compare
from lkdn_core import Upscaler
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.job import Job, identity
from lkdn_media.pipeline import upscale_video
from lkdn_media.plan import Plan, make_plan
from lkdn_media.probe import probe
from lkdn_media.segmented import upscale_segments

SCALE = 2


class Repeater:
    """A network that repeats every pixel."""

    dtype = torch.float32
    memory_format = torch.contiguous_format

    def __call__(self, x: Tensor, out: Tensor) -> None:
        torch.ops.aten.upsample_nearest2d.out(x, list(out.shape[2:]), out=out)

    def bytes_for(self, height: int, width: int) -> int:
        return 0


class PlaneRepeater(Upscaler):
    """An engine that repeats samples where they are, and converts nothing."""

    def stream(self, frames: Iterable[Sequence[Any]], *_: Any, **__: Any) -> Iterator[list[Any]]:
        for planes in frames:
            yield [repeat(plane) for plane in planes]


def repeat(plane: Any) -> Any:
    """Twice as wide by doubling bytes in a register, twice as high by copying rows."""
    height, width = plane.shape
    out = np.empty((height, 2, width), np.uint16)
    np.multiply(plane, 257, out=out[:, 0], dtype=np.uint16)
    out[:, 1] = out[:, 0]
    return out.reshape(2 * height, width).view(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=960)
    parser.add_argument("--height", type=int, default=540)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, help="a file instead of the moving pattern")
    a = parser.parse_args()
    stub = Upscaler(scale=SCALE, device="cpu", backend="reference")
    stub._network = Repeater()  # type: ignore[assignment]
    planar = PlaneRepeater(scale=SCALE, device="cpu", backend="reference")
    with tempfile.TemporaryDirectory() as folder:
        source = a.source or make_source(Path(folder) / "in.mkv", a.width, a.height, a.frames)
        names = (Path(folder) / f"{i}.mkv" for i in itertools.count())
        choice = EncoderChoice(codec="libx264", crf=20.0, preset=a.preset)
        plan = make_plan(probe(source), next(names), scale=SCALE, choice=choice)
        ways: dict[str, Callable[[], object]] = {
            "PyAV alone": lambda: alone(plan, next(names)),
            "pipeline, planes": lambda: one_pass(plan, next(names), planar),
            "pipeline, float RGB": lambda: one_pass(plan, next(names), stub),
            "in segments, planes": lambda: in_segments(plan, next(names), planar, a.frames // 4),
        }
        compare(ways, rounds=a.rounds)


def make_source(path: Path, width: int, height: int, frames: int) -> Path:
    """A noisy pattern that moves: neither trivial to encode nor the same all the time."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 40, (height + 2 * frames, width + 2 * frames), np.uint8)
    y, x = np.mgrid[0 : height + 2 * frames, 0 : width + 2 * frames]
    picture = (noise + 100 + 60 * np.sin(x / 37) * np.cos(y / 23)).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, width=width, height=height)
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "veryfast", "crf": "20"}
        for i in range(frames):
            luma = picture[i : i + height, 2 * i : 2 * i + width]
            chroma = picture[i : i + height : 2, 2 * i : 2 * i + width : 2] // 2 + 60
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, values in zip(frame.planes, (luma, chroma, 255 - chroma), strict=True):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                rows[:, : plane.width] = values
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def alone(plan: Plan, path: Path) -> None:
    """What anybody would write with PyAV."""
    with av.open(str(plan.source.path)) as container, av.open(str(path), "w") as out:
        (video,) = container.streams.video
        video.thread_type = "AUTO"
        stream = out.add_stream(plan.codec, rate=plan.source.frame_rate, options=plan.options)
        stream.width, stream.height, stream.pix_fmt = plan.width, plan.height, plan.pix_fmt
        stream.time_base = stream.codec_context.time_base = plan.source.time_base
        for frame in container.decode(video):
            large = frame.reformat(plan.width, plan.height, interpolation="POINT")
            large.pict_type = PictureType.NONE  # the encoder would follow the source's otherwise
            out.mux(stream.encode(large))
        out.mux(stream.encode(None))


def one_pass(plan: Plan, path: Path, upscaler: Upscaler) -> None:
    upscale_video(plan, path, upscaler, progress=lambda: None)


def in_segments(plan: Plan, path: Path, upscaler: Upscaler, length: int) -> None:
    with Job(path, identity(plan, segment=length, engine={}), restart=False) as job:
        upscale_segments(
            plan, job, upscaler, length=length, progress=lambda: None, stop=lambda: False
        )


if __name__ == "__main__":
    main()
