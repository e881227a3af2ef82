"""``lkdn-evaluate``: the models beside bicubic and the paper, on a folder of pictures."""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lkdn_cli.console import Parser, put, run
from lkdn_cli.engine_options import add_device_option, add_tta_option

if TYPE_CHECKING:
    from torch import Tensor

    from lkdn_core.arch import LKDNConfig

    Enlarge = Callable[[Tensor], Tensor]

__all__ = ["main"]

#: PSNR in dB that the paper prints, by the folder's name and the scale.
PAPER: Final[dict[tuple[str, int], dict[str, float]]] = {
    ("Set5", 2): {"bicubic": 33.66, "LKDN": 38.12},
    ("Set5", 3): {"bicubic": 30.39, "LKDN": 34.54},
    ("Set5", 4): {"bicubic": 28.42, "LKDN": 32.39, "LKDN-S": 32.11},
    ("Set14", 2): {"LKDN": 33.90},
    ("Set14", 3): {"LKDN": 30.52},
    ("Set14", 4): {"LKDN": 28.79, "LKDN-S": 28.62},
}


@dataclass(slots=True)
class Row:
    """One method. ``pictures``: PSNR in dB and SSIM of each, by name."""

    method: str
    parameters: int | None = None
    multiply_adds: int | None = None
    psnr: float = 0.0
    ssim: float | None = None
    pictures: dict[str, tuple[float, float]] = field(default_factory=dict)


def main(argv: list[str] | None = None) -> int:
    """Evaluate models beside bicubic; returns the exit code."""
    parser = Parser(
        prog="lkdn-evaluate",
        description="PSNR and SSIM on luma, borders of SCALE pixels cropped, 8 bits. FOLDER holds "
        "high-resolution pictures (the small ones are made by MATLAB's bicubic), or pairs named "
        "NAME_HR.png and NAME_LR.png, or one of each pair with the other in --small. Prints a "
        "Markdown table; where FOLDER is Set5 or Set14, or lies in it, the paper's figures are in "
        "it too.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures")
    small = "the small pictures, by the same names or as 1x4.png for 1.png"
    parser.add_argument("--small", type=Path, metavar="FOLDER", help=small)
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4, help="default 4")
    model = (
        "names from lkdn-models (default: all of this scale that need no download, if no weights)"
    )
    parser.add_argument("--model", nargs="+", default=None, help=model)
    weights = "checkpoints of your own"
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help=weights)
    add_device_option(parser)
    parser.add_argument("--precision", default="auto", help="auto (default), fp32, fp16 or bf16")
    add_tta_option(parser)
    as_json = "print JSON, with every picture; the PSNR of equal ones is null"
    parser.add_argument("--json", action="store_true", help=as_json)
    plot = "draw PSNR against multiply-adds (needs the extra 'plot')"
    parser.add_argument("--plot", type=Path, metavar="PNG", help=plot)
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite that PNG")
    return run(parser, _evaluate, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from lkdn_cli.pairs import read_pairs
    from lkdn_cli.plot import plot_scatter, require

    if arguments.plot:
        require(arguments.plot, overwrite=arguments.overwrite)
    methods = dict(_methods(arguments))
    pairs = partial(read_pairs, arguments.folder, arguments.scale, small=arguments.small)
    # One that can't be measured is named before the work, which may take hours.
    count = sum(1 for _ in tqdm(pairs(), desc="looking", unit="picture", disable=None))
    progress = tqdm(pairs(), total=count, unit="picture", disable=None)
    rows = _measure(methods, progress, arguments.scale, arguments.tta)
    rows += _paper(arguments.folder, arguments.scale)
    if arguments.json:
        put(json.dumps([_for_json(row) for row in rows], indent=1, allow_nan=False) + "\n")
    else:
        put(_table(rows))
    if arguments.plot:
        points = [(r.method, r.multiply_adds, r.psnr) for r in rows if r.multiply_adds]
        plot_scatter(points, rows[0].psnr, arguments.plot)
    return 0


def _methods(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, tuple["LKDNConfig | None", "Enlarge"]]]:
    """Bicubic and the networks asked for, by name: what they are, and how they enlarge."""
    from lkdn_core import Upscaler
    from lkdn_core.models import DEFAULT_MODEL, list_models
    from lkdn_core.resize import resize

    scale, names = arguments.scale, arguments.model
    if names is None:
        at_hand = [m.name for m in list_models() if m.scale == scale and m.at_hand()]
        names = [] if arguments.weights else at_hand

    def bicubic(small: "Tensor") -> "Tensor":
        return resize(small.double(), small.shape[1] * scale, small.shape[2] * scale) / 255

    def network(
        model: str = DEFAULT_MODEL, weights: Path | None = None
    ) -> tuple["LKDNConfig", "Enlarge"]:
        upscaler = Upscaler(
            scale=scale,
            model=model,
            weights=weights,
            device=arguments.device,
            precision=arguments.precision,
            tta=arguments.tta,
        )
        return upscaler.config, lambda small: upscaler.up(small[None].float() / 255)[0].cpu()

    yield "bicubic", (None, bicubic)
    for name in names:
        yield name, network(name)
    for file in arguments.weights:
        yield str(file), network(weights=file)


def _measure(
    methods: dict[str, tuple["LKDNConfig | None", "Enlarge"]],
    pairs: Iterable[tuple[str, "Tensor", "Tensor"]],
    scale: int,
    runs: int,
) -> list[Row]:
    """``runs``: of a network for each picture."""
    from lkdn_core.complexity import count_multiply_adds, count_parameters
    from lkdn_core.evaluate import psnr, ssim
    from lkdn_core.quantize import quantize

    rows = {name: Row(name) for name in methods}
    for name, (config, _) in methods.items():
        if config is not None:
            rows[name].parameters = count_parameters(config)
            rows[name].multiply_adds = count_multiply_adds(config) * runs
    for picture, small, large in pairs:
        for name, (_, enlarge) in methods.items():
            enlarged = quantize(enlarge(small) * 255, bits=8)
            figures = [f(enlarged, large, crop_border=scale) for f in (psnr, ssim)]
            rows[name].pictures[picture] = figures[0], figures[1]
    for row in rows.values():
        row.psnr, row.ssim = (
            sum(values) / len(row.pictures) for values in zip(*row.pictures.values(), strict=True)
        )
    return list(rows.values())


def _paper(folder: Path, scale: int) -> Iterator[Row]:
    """What the paper prints for this set of pictures."""
    from lkdn_core.arch import LKDN_CONFIGS
    from lkdn_core.complexity import count_multiply_adds, count_parameters

    for name in {"Set5", "Set14"} & set(folder.resolve().parts):
        for method, value in PAPER.get((name, scale), {}).items():
            row = Row(f"{method} (paper)", psnr=value)
            config = LKDN_CONFIGS.get(f"{method.lower()}-x{scale}")
            if config is not None:
                row.parameters, row.multiply_adds = (
                    count_parameters(config),
                    count_multiply_adds(config),
                )
            yield row


def _for_json(row: Row) -> dict[str, object]:
    """``row`` without infinite PSNR, for which JSON has no word."""
    pictures = {name: (_finite(psnr), ssim) for name, (psnr, ssim) in row.pictures.items()}
    return asdict(row) | {"psnr": _finite(row.psnr), "pictures": pictures}


def _finite(psnr: float) -> float | None:
    return psnr if math.isfinite(psnr) else None


def _table(rows: list[Row]) -> str:
    """Markdown, one line a method."""
    lines = ["| method | parameters | multiply-adds | PSNR dB | SSIM |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        size = "-" if row.parameters is None else f"{row.parameters:,}"
        cost = "-" if row.multiply_adds is None else f"{row.multiply_adds / 1e9:.2f} G"
        ssim = "-" if row.ssim is None else f"{row.ssim:.4f}"
        lines.append(f"| {row.method} | {size} | {cost} | {row.psnr:.2f} | {ssim} |")
    return "\n".join(lines) + "\n"
