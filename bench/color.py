"""Colour conversion in C++, or fused on a GPU, beside plain torch: to RGB, and back twice as large.

python bench/color.py
python bench/color.py --device cuda

640x360 and 1280x720 on a CPU, 1920x1080 and 3840x2160 on a GPU. Wall seconds are those of CALLS
conversions; on a GPU they count, with waiting for the device, and CPU seconds are the launches'.
"""

import argparse
from collections.abc import Callable

import torch

from lkdn_cli.benchmark.timing import compare
from lkdn_core.color import from_rgb, from_rgb_plain, to_rgb, to_rgb_plain
from lkdn_core.formats import FrameFormat

SIZES = {"cpu": ((640, 360), (1280, 720)), "cuda": ((1920, 1080), (3840, 2160))}
OURS = {"cpu": "C++", "cuda": "fused"}
#: What the engine asks for.
DTYPES = {"cpu": torch.float32, "cuda": torch.float16}
#: Many calls are one measurement: a conversion is over in a millisecond, or in a tenth of one.
CALLS = {"cpu": 10, "cuda": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=list(SIZES), default="cpu")
    a = parser.parse_args()
    ours, dtype, (size, (width, height)) = OURS[a.device], DTYPES[a.device], SIZES[a.device]
    for name, kind in (
        ("YUV420P8", FrameFormat(family="yuv", subsampling=(1, 1))),
        ("YUV420P10", FrameFormat(family="yuv", bits=10, subsampling=(1, 1))),
        ("YUV444P8", FrameFormat(family="yuv")),
        ("RGBS", FrameFormat(family="rgb", bits=32, sample_type="float")),
    ):
        format = kind.resolved(*size)
        rgb = torch.rand(1, 3, height, width, device=a.device)
        small = from_rgb(rgb[:, :, ::2, ::2], format)
        out = [torch.empty_like(plane) for plane in from_rgb(rgb, format)]
        ways: dict[str, Callable[[], object]] = {
            f"{name} to RGB, torch": lambda s=small, f=format: to_rgb_plain(s, f).to(dtype),
            f"{name} to RGB, {ours}": lambda s=small, f=format: to_rgb(s, f, dtype=dtype),
        }
        back: dict[str, Callable[[], object]] = {
            f"RGB to {name}, torch": lambda r=rgb, o=out, f=format: from_rgb_plain(r, o, f),
            f"RGB to {name}, {ours}": lambda r=rgb, o=out, f=format: from_rgb(r, f, out=o),
        }
        for pair in (ways, back):
            compare({n: repeated(way, a.device) for n, way in pair.items()}, rounds=a.rounds)


def repeated(way: Callable[[], object], device: str) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS[device]):
            way()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
