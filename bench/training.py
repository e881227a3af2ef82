"""One training step of LKDN-S, forward and backward, as the loop takes it and in plainer ways.

python bench/training.py --batch-size 16 --patch 48
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_cli.benchmark.timing import compare
from lkdn_core.arch import LKDN, LKDN_CONFIGS
from lkdn_core.fuse import dense_head, reparameterize
from lkdn_core.network import run_network
from lkdn_core.training.depthwise import depthwise5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--bf16", action="store_true", help="too, slow on CPUs without bfloat16")
    arguments = parser.parse_args()
    model = LKDN(LKDN_CONFIGS["lkdn-s-x2"])
    shape = arguments.batch_size, 3, arguments.patch, arguments.patch
    x = torch.rand(shape)
    last = x.contiguous(memory_format=torch.channels_last)
    target = torch.rand(shape[0], 3, 2 * shape[2], 2 * shape[3])

    def folded(x: Tensor, fast: bool) -> Tensor:
        weights = dense_head(reparameterize(dict(model.named_parameters())))
        return run_network(weights, x, depthwise=depthwise5 if fast else None)

    def step(forward: Callable[[Tensor], Tensor], x: Tensor, bf16: bool = False) -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = forward(x)
        torch.autograd.backward(F.l1_loss(y.float(), target))

    ways = {
        "modules, fp32": lambda: step(model, x),
        "modules, channels_last": lambda: step(model, last),
        "folded": lambda: step(lambda x: folded(x, False), last),
        "folded, fast gradient": lambda: step(lambda x: folded(x, True), last),
    }
    if arguments.bf16:
        ways["folded, fast gradient, bf16"] = lambda: step(lambda x: folded(x, True), last, True)
    compare(ways)


if __name__ == "__main__":
    main()
