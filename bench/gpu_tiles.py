"""The Triton kernels with other tiles: whether each is right, and how long it takes.

    python bench/gpu_tiles.py --json tiles.json

Each candidate has a process of its own, which a kernel that reads outside of memory ends. All
compile side by side, then they are checked and timed one after another, kernel by kernel, on the
maps of an LKDN x2 with untrained weights. Right is what agrees with tiles of 16 columns, which
``tests/core/test_kernels.py`` compares with the reference. For ``lkdn_core/kernels/tiles.py``.

Needs torch, triton, numpy, safetensors, platformdirs. ``--device cpu`` with TRITON_INTERPRET=1 is a
dry run, with a small network.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from gpu import Bench
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.kernels.launch import Launch, compile_ahead
from lkdn_core.kernels.launches import Maps, Schedule, map_bytes
from lkdn_core.kernels.pack import Packed, pack
from lkdn_core.kernels.tiles import TILES, Tile
from lkdn_core.prepare import fold

CANDIDATES = ["16x4", "16x2", "32x2", "32x4", "32x8", "64x4", "64x8", "128x8"]
RIGHT = Tile(16, 4)
#: Largest difference of a map in half precision, against a largest value of about 4.
TOLERANCE = 0.02


class Plan:
    """A schedule on maps of its own, its launches by place."""

    def __init__(self, net: Packed, x: Tensor, tile: Tile, gelu: str) -> None:
        n, _, height, width = x.shape
        size = map_bytes(net, n, height, width)
        self.memory = torch.zeros(size, dtype=torch.uint8, device=x.device)
        maps = Maps.on(self.memory, net, n, height, width)
        self.out = torch.zeros(n, 3, height * net.scale, width * net.scale, device=x.device)
        schedule = Schedule(net, maps, x.shape, tiles=dict.fromkeys(TILES, tile), gelu=gelu)
        self.launches = [*schedule.trunk(x), schedule.pixels(self.out)]

    def copy_from(self, other: "Plan") -> None:
        self.memory.copy_(other.memory)
        self.out.copy_(other.out)

    def distance(self, other: "Plan") -> float:
        maps = (p.memory.view(torch.float16).float() for p in (self, other))
        pairs = tuple(maps), (self.out, other.out)
        return max(float((a - b).abs().nan_to_num(torch.inf).max()) for a, b in pairs)


@torch.inference_mode()
def candidate(tile: Tile, device: torch.device) -> None:
    """What the process of one candidate does: a line of JSON for each kernel."""
    torch.manual_seed(0)
    cuda = device.type == "cuda"
    config = LKDNConfig(2) if cuda else LKDNConfig(2, 8, 2)
    net = pack(
        fold(LKDN(config).state_dict(), precision="fp16"), device=device, dtype=torch.float16
    )
    small, large = ((2, 3, 37, 150), (1, 3, 1080, 1920)) if cuda else ((1, 3, 5, 70), (1, 3, 5, 70))
    x = torch.rand(small, device=device).half()
    gelu = "tanh" if cuda else "exp"
    right, plan = Plan(net, x, RIGHT, gelu), Plan(net, x, tile, gelu)
    timed = Plan(net, torch.rand(large, device=device).half(), tile, gelu)
    if cuda:
        compile_ahead([*right.launches, *plan.launches])
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.readline()  # until the others are not at work
    worst: dict[str, float] = {}
    for a, b in zip(right.launches, plan.launches, strict=True):
        plan.copy_from(right)
        a.run()
        b.run()
        name = a.kernel.__name__
        worst[name] = max(worst.get(name, 0.0), plan.distance(right))
    for launch in timed.launches:
        launch.run()
    bench = Bench(device, seconds=0, file=None)
    for launch in {n.kernel.__name__: n for n in timed.launches if not is_last(n, config)}.values():
        name = launch.kernel.__name__
        ms = bench.milliseconds(lambda _, launch=launch: launch.run())
        row = {"kernel": name, "error": worst[name], "ms": ms}
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def is_last(launch: Launch, config: LKDNConfig) -> bool:
    """The last "attend" has no next block to start."""
    return config.blocks > 1 and launch.constants.get("NEXT") is False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", nargs="+", default=CANDIDATES, metavar="COLUMNSxWARPS")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        candidate(Tile(*map(int, arguments.one.split("x"))), torch.device(arguments.device))
        return
    command = [sys.executable, __file__, "--device", arguments.device, "--one"]
    processes = {
        name: subprocess.Popen(
            [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in arguments.tiles
    }
    for process in processes.values():
        process.stdout.readline()
    rows = []
    for name, process in processes.items():
        lines, _ = process.communicate("\n")
        rows += [{"tile": name, **json.loads(line)} for line in lines.splitlines()]
        if process.returncode:
            rows.append({"tile": name, "kernel": "any", "error": f"ended {process.returncode}"})
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1))
    for kernel in ("any", *TILES):
        for row in sorted((r for r in rows if r["kernel"] == kernel), key=lambda r: r.get("ms", 0)):
            wrong = isinstance(row["error"], str) or row["error"] > TOLERANCE
            error = row["error"] if isinstance(row["error"], str) else f"{row['error']:.4f}"
            verdict = f"  WRONG: {error}" if wrong else ""
            ms = f"{row.get('ms', 0):.3f} ms"
            sys.stdout.write(f"{kernel:9} {row['tile']:6} {ms:>11}{verdict}\n")


if __name__ == "__main__":
    main()
