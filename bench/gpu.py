"""Every way to run the network on one CUDA GPU, and ours, on the sizes video comes in.

    python bench/gpu.py --json gpu.json --seconds 480

It prints a table of medians (CUDA events, ways side by side in one process, inputs rotated)
and writes it after every row, so that what was measured survives a time limit; torch.compile comes
last, as far as ``--seconds`` allow. "official" is the network as torch modules with torch's
defaults, TF32 in convolutions included; ``psnr`` is the agreement with float32 without it. LKDN
takes ``--weights FOLDER`` with the authors' checkpoints, or else untrained weights, which cost the
same time.

Needs torch, triton, numpy, safetensors, platformdirs, tqdm. ``--device cpu --tiny`` is a dry run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig
from lkdn_core.backends import load_network
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.color import from_rgb, to_rgb
from lkdn_core.formats import FrameFormat
from lkdn_core.models import WEIGHTS_FOLDER
from lkdn_core.network import run_network
from lkdn_core.prepare import DTYPES, prepare

#: Model, width, height, batch sizes.
CASES = [
    ("lkdn-x2", 1920, 1080, (1, 2)),
    ("lkdn-s-x2", 1920, 1080, (1, 2)),
    ("lkdn-x4", 960, 540, (1, 4, 8)),
    ("lkdn-s-x4", 960, 540, (1, 4, 8)),
]
YUV = FrameFormat(family="yuv", subsampling=(1, 1), matrix="bt709")
#: Seconds a torch.compile is expected to take before one was seen.
COMPILE_SECONDS = 90.0
#: Seconds of runs behind a median.
MEASURE_SECONDS = 0.6


@dataclass(slots=True)
class Bench:
    """What was measured so far, and the time that is left."""

    device: torch.device
    seconds: float
    file: Path | None
    start: float = field(default_factory=time.monotonic)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.start)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        columns = ("case", "way", "ms", "fps", "psnr", "note")
        sys.stdout.write(" | ".join(str(row.get(c, "")) for c in columns) + "\n")
        sys.stdout.flush()
        if self.file:
            document = {"about": about(self.device), "rows": self.rows}
            self.file.write_text(json.dumps(document, indent=1))

    def milliseconds(self, way: Callable[[int], object]) -> float:
        """Median time of ``way(turn)`` after three runs to warm up and record graphs."""
        for turn in range(3):
            way(turn)
        self.synchronize()
        spent, end = [], time.monotonic() + MEASURE_SECONDS
        while len(spent) < 5 or (time.monotonic() < end and len(spent) < 300):
            spent.append(self._once(partial(way, len(spent))))
        return statistics.median(spent)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _once(self, run: Callable[[], object]) -> float:
        if self.device.type != "cuda":
            begin = time.perf_counter()
            run()
            return (time.perf_counter() - begin) * 1e3
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last)


@dataclass(frozen=True, slots=True)
class Case:
    """One network on pictures of one size; ``pictures`` differ, so no cache holds the input."""

    name: str
    config: LKDNConfig
    weights: dict[str, Tensor]
    pictures: list[Tensor]
    truth: Tensor

    @property
    def batch(self) -> int:
        return len(self.pictures[0])


def about(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def cases(bench: Bench, arguments: argparse.Namespace) -> Iterator[Case]:
    for name, width, height, batches in CASES:
        if arguments.model and name not in arguments.model:
            continue
        config, weights = trained(name, arguments.weights)
        for batch in batches[:2] if arguments.tiny else batches:
            shape = (batch, 18, 32) if arguments.tiny else (batch, height, width)
            pictures = [picture(*shape).to(bench.device) for _ in range(3)]
            prepared = prepare(weights, device=bench.device, precision="fp32")
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                truth = run_network(prepared, pictures[0]).clamp(0, 1)
            title = f"{name} {width}x{height} b{batch}"
            yield Case(title, config, weights, pictures, truth)


def trained(name: str, folder: Path | None) -> tuple[LKDNConfig, dict[str, Tensor]]:
    shipped = WEIGHTS_FOLDER / f"{name}.safetensors"
    official = folder / f"LKDN_x{name[-1]}.pth" if folder else shipped
    for file in (shipped, official):
        if file.exists():
            weights, config = read_checkpoint(file)
            return config, weights
    torch.manual_seed(0)
    return LKDN_CONFIGS[name], LKDN(LKDN_CONFIGS[name]).state_dict()


def picture(n: int, height: int, width: int) -> Tensor:
    """Smooth shapes with some grain, like a photograph; never the same twice."""
    shapes = torch.rand(n, 3, height // 8 + 2, width // 8 + 2)
    smooth = torch.nn.functional.interpolate(shapes, size=(height, width), mode="bicubic")
    return (smooth + 0.02 * torch.randn(n, 3, height, width)).clamp(0, 1)


def eager(case: Case, device: torch.device, precision: str, layout: str) -> Callable[[int], Tensor]:
    """Fused weights, one torch operation after another."""
    prepared = prepare(case.weights, device=device, precision=precision)
    memory = getattr(torch, layout)
    prepared = {k: v.contiguous(memory_format=memory) if v.ndim == 4 else v
                for k, v in prepared.items()}  # fmt: skip
    x = [p.to(DTYPES[precision]).contiguous(memory_format=memory) for p in case.pictures]
    return lambda turn: run_network(prepared, x[turn % len(x)])


def official(case: Case, device: torch.device) -> Callable[[int], Tensor]:
    """The modules the network is trained as, in float32."""
    network = LKDN(case.config).eval()
    network.load_state_dict(case.weights)
    network = network.to(device)
    return lambda turn: network(case.pictures[turn % len(case.pictures)])


def backend(case: Case, device: torch.device, name: str, precision: str) -> Callable[[int], Tensor]:
    _, network = load_network(name, case.weights, case.config, device, precision)
    x = [p.to(network.dtype).contiguous(memory_format=network.memory_format) for p in case.pictures]
    out = torch.empty_like(case.truth)

    def run(turn: int) -> Tensor:
        network(x[turn % len(x)], out)
        return out

    return run


def film(case: Case, device: torch.device, name: str, precision: str) -> Callable[[int], Tensor]:
    """8-bit 4:2:0 planes on the device to such planes: network and colour conversion."""
    _, network = load_network(name, case.weights, case.config, device, precision)
    planes = [from_rgb(p, YUV) for p in case.pictures]
    out = torch.empty_like(case.truth)

    def run(turn: int) -> Tensor:
        x = to_rgb(planes[turn % len(planes)], YUV, dtype=network.dtype)
        network(x.contiguous(memory_format=network.memory_format), out)
        from_rgb(out, YUV)
        return out

    return run


def compiled(case: Case, device: torch.device) -> Callable[[int], Tensor]:
    """Inductor at its best: every kernel tuned, CUDA graphs."""
    torch._dynamo.reset()
    prepared = prepare(case.weights, device=device, precision="fp16")
    run = torch.compile(
        partial(run_network, prepared), mode="max-autotune", fullgraph=True, dynamic=False
    )
    x = [p.half().contiguous(memory_format=torch.channels_last) for p in case.pictures]
    return lambda turn: run(x[turn % len(x)])


def ways(case: Case, device: torch.device) -> dict[str, Callable[[], Callable[[int], Tensor]]]:
    """How to make each way, ours last."""
    plain = {
        f"fused eager, {precision}{' channels_last' if last else ''}": partial(
            eager, case, device, precision, "channels_last" if last else "contiguous_format"
        )
        for precision, last in (("fp32", 0), ("fp16", 0), ("fp16", 1), ("bf16", 0), ("bf16", 1))
    }
    ours = {
        f"backend {name}, {precision}": partial(backend, case, device, name, precision)
        for name, precision in (("torch", "fp16"), ("triton", "bf16"), ("triton", "fp16"))
    }
    whole = {
        "backend triton, fp16, 4:2:0 in and out": partial(film, case, device, "triton", "fp16")
    }
    return {"official eager, fp32": partial(official, case, device), **plain, **ours, **whole}


def measure(
    bench: Bench, case: Case, name: str, make: Callable[[], Callable[[int], Tensor]]
) -> None:
    begin = time.monotonic()
    try:
        way = make()
        got = way(0).float().clamp(0, 1)
        bench.synchronize()
        ready = time.monotonic() - begin
        error = (got - case.truth).square().mean().clamp_min(1e-12)
        ms = bench.milliseconds(way)
    except Exception as reason:  # one that fails must not cost the others their time
        bench.add({"case": case.name, "way": name, "note": f"failed: {str(reason)[:300]}"})
        return
    bench.add(
        {
            "case": case.name,
            "way": name,
            "ms": round(ms, 3),
            "fps": round(case.batch * 1e3 / ms, 1),
            "psnr": "" if "4:2:0" in name else round(float(-10 * error.log10()), 1),
            "note": f"ready in {ready:.1f} s" if ready > 5 else "",
        }
    )


@torch.inference_mode()
def compare(bench: Bench, arguments: argparse.Namespace) -> None:
    for case in cases(bench, arguments):
        for name, make in ways(case, bench.device).items():
            if bench.left > 0:
                measure(bench, case, name, make)
            torch.cuda.empty_cache()
    expected = COMPILE_SECONDS
    for case in cases(bench, arguments):
        if bench.left > 1.3 * expected:
            begin = time.monotonic()
            way = partial(compiled, case, bench.device)
            measure(bench, case, "torch.compile max-autotune, fp16", way)
            expected = time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", nargs="+", choices=[c[0] for c in CASES], default=[])
    parser.add_argument(
        "--seconds", type=float, default=480, help="stop starting things after these"
    )
    parser.add_argument("--weights", type=Path, help="folder with the authors' checkpoints")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small pictures, to try the script")
    arguments = parser.parse_args()
    bench = Bench(torch.device(arguments.device), arguments.seconds, arguments.json)
    sys.stdout.write(f"{about(bench.device)}\n")
    compare(bench, arguments)


if __name__ == "__main__":
    main()
