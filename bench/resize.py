"""The resize to a final size: torch's kernel beside the plain matrices of ``lkdn_core.resize``.

python bench/resize.py --width 1280 --height 720 --to 854x480
"""

import argparse

import torch

from lkdn_cli.benchmark.timing import compare
from lkdn_core.resize import FinalSize, resize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--to", default="854x480")
    arguments = parser.parse_args()
    width, height = map(int, arguments.to.split("x"))
    size = FinalSize(width=width, height=height)
    x = torch.rand(1, 3, arguments.height, arguments.width)
    compare({"matrices": lambda: resize(x, height, width), "FinalSize": lambda: size.apply(x)})


if __name__ == "__main__":
    main()
