"""Colour conversion in C++ beside plain torch: 640x360 to RGB, and 1280x720 back.

python bench/color.py
"""

import argparse
from collections.abc import Callable

import torch

from lkdn_cli.benchmark.timing import compare
from lkdn_core.color import from_rgb, from_rgb_plain, to_rgb, to_rgb_plain
from lkdn_core.formats import FrameFormat

SMALL, LARGE = (640, 360), (1280, 720)
#: Many calls are one measurement: a conversion is over in a millisecond.
CALLS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    for name, kind in (
        ("YUV420P8", FrameFormat(family="yuv", subsampling=(1, 1))),
        ("YUV420P10", FrameFormat(family="yuv", bits=10, subsampling=(1, 1))),
        ("YUV444P8", FrameFormat(family="yuv")),
        ("RGBS", FrameFormat(family="rgb", bits=32, sample_type="float")),
    ):
        format = kind.resolved(*SMALL)
        rgb = torch.rand(1, 3, LARGE[1], LARGE[0])
        small = from_rgb(rgb[:, :, ::2, ::2], format)
        out = [torch.empty_like(plane) for plane in from_rgb(rgb, format)]
        ways: dict[str, Callable[[], object]] = {
            f"{name} to RGB, torch": lambda s=small, f=format: to_rgb_plain(s, f),
            f"{name} to RGB, C++": lambda s=small, f=format: to_rgb(s, f),
        }
        back: dict[str, Callable[[], object]] = {
            f"RGB to {name}, torch": lambda r=rgb, o=out, f=format: from_rgb_plain(r, o, f),
            f"RGB to {name}, C++": lambda r=rgb, o=out, f=format: from_rgb(r, f, out=o),
        }
        for pair in (ways, back):
            compare({n: repeated(way) for n, way in pair.items()}, rounds=a.rounds)


def repeated(way: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            way()

    return run


if __name__ == "__main__":
    main()
