"""``core.lkdn.Upscale`` beside the core itself and the other routes in VapourSynth, on one clip.

    python bench/filter.py --scale 2 --width 320 --height 180

Needs ``vapoursynth-mlrt-ort`` and ``vapoursynth-mlrt-ov`` for the rows of vs-mlrt, which run our
ONNX export of the same weights; rows whose plugin is not there are left out. ``ov`` computes in
bfloat16 on CPUs that have it, unless told not to: both are shown.
"""

import argparse
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
import vapoursynth as vs

from lkdn_cli.benchmark.timing import compare
from lkdn_core import Upscaler
from lkdn_core.export import export_onnx

core = vs.core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="a row for CPUs that compute in it")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    # Long enough for every round to take frames that no cache has seen, and none like another.
    count = a.frames * 2 * (a.rounds + 1)
    blank = core.std.BlankClip(format=vs.RGBS, width=a.width, height=a.height, length=1)
    colors = [[0.2, 0.5, 0.7 * n / count] for n in range(count)]
    clip = core.std.Splice([blank.std.BlankClip(color=color) for color in colors])
    upscaler = Upscaler(scale=a.scale, device="cpu")
    picture = torch.rand(1, 3, a.height, a.width)

    def direct() -> None:
        for _ in range(a.frames):
            upscaler.up(picture)

    ways: dict[str, Callable[[], object]] = {"the core, called directly": direct}
    lkdn = core.lkdn.Upscale
    clips = {
        "core.lkdn.Upscale": lkdn(clip, scale=a.scale, device="cpu"),
        "FrameEval and ModifyFrame": by_modify_frame(clip, upscaler),
    }
    if a.bf16:
        half = lkdn(clip, scale=a.scale, device="cpu", precision="bf16")
        clips["core.lkdn.Upscale, bf16"] = half
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "lkdn.onnx")
        export_onnx(model, scale=a.scale)
        clips |= by_mlrt(clip, model, a.threads)
        ways |= {name: in_parts(made, a.frames) for name, made in clips.items()}
        compare(ways, rounds=a.rounds)


def by_mlrt(clip: vs.VideoNode, model: str, threads: int) -> dict[str, vs.VideoNode]:
    """vs-mlrt's CPU routes, as far as they are installed."""
    made: dict[str, vs.VideoNode] = {}
    if hasattr(core, "ort"):
        made["vs-mlrt ort"] = core.ort.Model(clip, network_path=model, provider="CPU")
    if hasattr(core, "ov"):
        count = {"INFERENCE_NUM_THREADS": threads}
        exact = count | {"INFERENCE_PRECISION_HINT": "f32"}
        for name, config in (("vs-mlrt ov, f32", exact), ("vs-mlrt ov, default", count)):
            made[name] = core.ov.Model(clip, network_path=model, config=lambda c=config: c)
    return made


def by_modify_frame(clip: vs.VideoNode, upscaler: Upscaler) -> vs.VideoNode:
    """What scripts do without a filter of their own."""
    size = clip.width * upscaler.scale, clip.height * upscaler.scale
    target = clip.std.BlankClip(width=size[0], height=size[1], keep=True)

    def enlarge(n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        planes = [torch.from_numpy(np.asarray(f[0][i]).copy()) for i in range(3)]
        done = upscaler.up(torch.stack(planes)[None])[0].numpy()
        out = f[1].copy()
        for i in range(3):
            np.copyto(np.asarray(out[i]), done[i])
        return out

    return target.std.FrameEval(
        lambda n: target.std.ModifyFrame([clip, target], enlarge), clip_src=[clip, target]
    )


def in_parts(clip: vs.VideoNode, frames: int) -> Callable[[], None]:
    """A function that takes the next ``frames`` of ``clip`` each time, as ``vspipe`` does.

    ``clip.frames()`` ends with a garbage collection, which takes half a frame's time beside torch.
    """
    starts = iter(range(0, clip.num_frames, frames))

    def part() -> None:
        start, asked = next(starts), deque[Future[vs.VideoFrame]]()
        for number in range(start, start + frames):
            asked.append(clip.get_frame_async(number))
            if len(asked) > core.num_threads:
                asked.popleft().result().close()
        while asked:
            asked.popleft().result().close()

    return part


if __name__ == "__main__":
    main()
