"""One training step of LKDN-S, forward and backward, as the loop takes it and in plainer ways.

python bench/training.py --batch-size 16 --patch 48
python bench/training.py --device cuda --batch-size 32
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
from lkdn_core.training.forward import Forward, fast_network
from lkdn_core.training.heap import kept_heap
from lkdn_core.training.replay import Replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--bf16", action="store_true", help="too, slow on CPUs without bfloat16")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cuda, fast = device.type == "cuda", fast_network(device, "fp32")
    model = LKDN(LKDN_CONFIGS["lkdn-s-x2"]).to(device)
    shape = arguments.batch_size, 3, arguments.patch, arguments.patch
    x = torch.rand(shape, device=device)
    last = x.contiguous(memory_format=torch.channels_last)
    target = torch.rand(shape[0], 3, 2 * shape[2], 2 * shape[3], device=device)

    def folded(x: Tensor, run: Forward) -> Tensor:
        return run(dense_head(reparameterize(dict(model.named_parameters()))), x)

    def step(forward: Callable[[Tensor], Tensor], x: Tensor, bf16: bool = False) -> None:
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            y = forward(x)
        torch.autograd.backward(F.l1_loss(y.float(), target))

    def finished(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            work()
            if cuda:
                torch.cuda.synchronize()

        return run

    ways = {
        "modules, fp32": lambda: step(model, x),
        "modules, channels_last": lambda: step(model, last),
        "folded": lambda: step(lambda x: folded(x, run_network), last),
        "folded, fast": lambda: step(lambda x: folded(x, fast), last),
    }
    if arguments.bf16:
        half = fast_network(device, "bf16")
        ways["folded, fast, bf16"] = lambda: step(lambda x: folded(x, half), last, True)
    if cuda:
        ways["folded, fast, recorded"] = Replay(ways["folded, fast"])
    with kept_heap():
        compare({name: finished(way) for name, way in ways.items()})


if __name__ == "__main__":
    main()
