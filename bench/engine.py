"""The network on this machine: training form, fused, and lower precisions, on one frame.

python bench/engine.py --scale 4 --width 320 --height 180
"""

import argparse

import torch

from lkdn_cli.benchmark.timing import compare
from lkdn_core import Upscaler, load_model
from lkdn_core.arch import LKDN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights, config = load_model(scale=arguments.scale)
    plain = LKDN(config).eval()
    plain.load_state_dict(weights)
    x = torch.rand(1, 3, arguments.height, arguments.width)
    ways = {"plain modules, fp32": torch.inference_mode()(lambda: plain(x))}
    for precision in ("fp32", "bf16"):
        upscaler = Upscaler(scale=arguments.scale, precision=precision, device="cpu")
        ways[f"Upscaler, {precision}"] = lambda u=upscaler: u.up(x)
    compare(ways)


if __name__ == "__main__":
    main()
