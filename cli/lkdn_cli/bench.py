"""``lkdn-bench``: how fast the network runs here, in which way, and with how much memory."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lkdn_cli.console import Parser, put, run
from lkdn_cli.engine_options import add_device_option

if TYPE_CHECKING:
    import torch

    from lkdn_cli.benchmark.ways import Way

__all__ = ["main"]

#: Input heights of ``--sweep``, 240p to 2160p, 16:9.
HEIGHTS: Final = (240, 360, 480, 720, 1080, 2160)
#: The longest side of a picture, and the most threads, that are tried.
SIDE: Final = 16384
THREADS: Final = 1024
ROUNDS: Final = 5
#: Options that mean nothing beside another.
UNUSED: Final = {
    "sweep": ("size", "peers", "rounds"),
    "table4": ("size", "precision", "backend", "peers"),
}


def main(argv: list[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = Parser(
        prog="lkdn-bench",
        description="Time the network in the backends and precisions that run here, side by side "
        "in one run: medians, and ratios to the first row. Prints Markdown. Ratios are of CPU time "
        "on a CPU, which bears other work on the machine, and of wall time on a GPU.",
    )
    parser.add_argument("--model", default="lkdn-s", help="a name from lkdn-models (lkdn-s)")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=2, help="default 2")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the input (320x180)")
    add_device_option(parser)
    parser.add_argument("--precision", nargs="+", help="default: fp32, on a GPU all three")
    backend = "default: all that run here, with --sweep the best"
    parser.add_argument("--backend", nargs="+", default=[], help=backend)
    parser.add_argument("--threads", type=int, help="of the CPU, for everybody (default: torch's)")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--peers", action="store_true", help="torch.compile, and on a CPU others")
    sweep = "time and peak memory against the height, a fresh process each (default 240 to 2160)"
    parser.add_argument("--sweep", type=int, nargs="*", metavar="HEIGHT", help=sweep)
    parser.add_argument("--table4", action="store_true", help="the paper's Table 4 on this device")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    plot = "draw what was measured (needs the extra 'plot')"
    parser.add_argument("--plot", type=Path, metavar="PNG", help=plot)
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite that PNG")
    return run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> int:
    import torch

    from lkdn_cli.benchmark.report import about
    from lkdn_cli.plot import plot_bench, require
    from lkdn_core.devices import resolve_device

    _check(arguments)
    arguments.rounds = arguments.rounds or ROUNDS
    if arguments.plot:
        require(arguments.plot, overwrite=arguments.overwrite)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    document = about(device, torch.get_num_threads())
    if arguments.table4:
        document["table4"] = _table4(device, arguments.rounds)
    if arguments.sweep is not None:
        document["sweep"] = _sweep(arguments, device)
    if not arguments.table4 and arguments.sweep is None:
        document["ways"] = _ways(arguments, device)
    if arguments.json:
        put(json.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        put(_text(document))
    if arguments.plot:
        plot_bench(document, arguments.plot)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would only come up in the middle of a run. Raises ``ArgumentError``."""
    from lkdn_core.backends import check_backend_name
    from lkdn_core.checks import whole
    from lkdn_core.errors import ArgumentError
    from lkdn_core.models import find_model

    counts = [("rounds", arguments.rounds, None), ("threads", arguments.threads, THREADS)]
    counts += [("sweep", height, SIDE) for height in arguments.sweep or ()]
    for name, count, most in counts:
        if count is not None:
            whole(name, count, 1, most)
    for kind, options in UNUSED.items():
        if getattr(arguments, kind) in (None, False):
            continue
        for name in options:
            if value := getattr(arguments, name):
                raise ArgumentError(f"{name}: --{kind} has its own, got {value}")
    for backend in arguments.backend:
        check_backend_name(backend)
    find_model(arguments.model, arguments.scale)


def _ways(arguments: argparse.Namespace, device: "torch.device") -> dict[str, Any]:
    """All ways on one size."""
    import tempfile

    import torch

    from lkdn_cli.benchmark.peers import peer_ways
    from lkdn_cli.benchmark.report import add_shares
    from lkdn_cli.benchmark.timing import matrix_product_rate
    from lkdn_cli.benchmark.ways import our_ways, plain_way
    from lkdn_core.complexity import count_multiply_adds
    from lkdn_core.models import load_model

    model, scale = arguments.model, arguments.scale
    width, height = arguments.size or (320, 180)
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    precisions = _precisions(arguments, device)
    ways = {"plain modules, fp32": plain_way(x, model=model, scale=scale)}
    ways |= our_ways(
        x,
        model=model,
        scale=scale,
        backends=arguments.backend,
        precisions=precisions,
        compiled=arguments.peers,
    )
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peers and device.type == "cpu":
            ways |= peer_ways(
                x,
                Path(folder),
                model=model,
                scale=scale,
                threads=torch.get_num_threads(),
                bf16="bf16" in precisions,
            )
        made = _timed(ways, device, arguments.rounds)
    if device.type == "cpu":
        _, config = load_model(model, scale)
        products = count_multiply_adds(config, width=width * scale, height=height * scale)
        add_shares(made, products, matrix_product_rate(arguments.rounds))
    return {"title": f"{model} x{scale}, {width}x{height}", "rows": made}


def _timed(ways: "dict[str, Way]", device: "torch.device", rounds: int) -> list[dict[str, Any]]:
    from lkdn_cli.benchmark.report import rows
    from lkdn_cli.benchmark.timing import measure

    pictures = {name: way() for name, way in ways.items()}
    return rows(measure(ways, rounds=rounds, warm=True), pictures, on_cpu=device.type == "cpu")


def _sweep(arguments: argparse.Namespace, device: "torch.device") -> list[dict[str, Any]]:
    import torch
    from tqdm import tqdm

    from lkdn_cli.benchmark.probe import Probe, probe

    jobs = [
        Probe(
            model=arguments.model,
            scale=arguments.scale,
            backend=backend,
            precision=precision,
            device=str(device),
            threads=torch.get_num_threads(),
            width=2 * round(height * 8 / 9),
            height=height,
        )
        for precision in _precisions(arguments, device)
        for backend in arguments.backend or ["auto"]
        for height in arguments.sweep or HEIGHTS
    ]
    return [probe(job) for job in tqdm(jobs, unit="size", disable=None)]


def _table4(device: "torch.device", rounds: int) -> list[dict[str, Any]]:
    from lkdn_cli.benchmark.table4 import table4_ways

    return _timed(table4_ways(device), device, rounds)


def _precisions(arguments: argparse.Namespace, device: "torch.device") -> list[str]:
    usual = ["fp32"] if device.type == "cpu" else ["fp32", "bf16", "fp16"]
    return arguments.precision or usual


def _text(document: dict[str, Any]) -> str:
    from lkdn_cli.benchmark.report import describe, sweep_text, table

    text = describe(document)
    if "ways" in document:
        text += table(document["ways"]["title"], document["ways"]["rows"])
    if "sweep" in document:
        text += sweep_text(document["sweep"])
    if "table4" in document:
        text += table("x4, 1280x720 output", document["table4"])
    return text


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found or max(int(found[1]), int(found[2])) > SIDE:
        accepted = f"WIDTHxHEIGHT is accepted, up to {SIDE} each"
        raise argparse.ArgumentTypeError(f"{accepted}, got {text!r}")
    return int(found[1]), int(found[2])
