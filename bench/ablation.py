"""Short runs of several recipes at an equal budget, with several seeds: PSNR, its spread, curves.

python bench/ablation.py --presets ablation-bsb ablation-bsrb ablation-rbsb --data PACK.json \
    --validate SET5/x4 --out RUNS

Runs are folders in RUNS and go on where they were broken off. The networks are made smaller than
the paper's (``--channels``, ``--blocks``), so that differences, not absolute figures, count.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lkdn_cli.train import validation
from lkdn_core.training.recipe import Recipe, read_recipe
from lkdn_core.training.train import Training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=42)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="packs")
    parser.add_argument("--validate", type=Path, required=True, help="pictures")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        for preset in arguments.presets:
            recipe = _small(read_recipe(preset), arguments, seed)
            folder = arguments.out / f"{preset}-{seed}"
            training = Training(recipe, folder, arguments.data, device=torch.device("cpu"))
            validate = validation(arguments.validate, recipe.network.scale)
            training.run(save_every=max(1, arguments.steps // 6), validate=validate)
        # After each seed: what is there is worth a look.
        curves = {p: _curves(arguments.out, p) for p in arguments.presets}
        print(_table(curves), flush=True)
        _write(curves, arguments.out / "curves.csv")
        _plot(curves, arguments.out / "curves.png")


def _small(recipe: Recipe, arguments: argparse.Namespace, seed: int) -> Recipe:
    network = replace(recipe.network, channels=arguments.channels, blocks=arguments.blocks)
    budget = {k: getattr(arguments, k) for k in ("steps", "batch_size", "patch")}
    # Both optimisers get the warm-up and the clipping without which Adan at 5e-3 may diverge.
    return replace(recipe, network=network, seed=seed, clip=1.0).changed(budget | {"warmup": 20})


def _curves(folder: Path, preset: str) -> dict[int, list[float]]:
    """PSNR of every seed, by step."""
    curves: dict[int, list[float]] = {}
    for file in sorted(folder.glob(f"{preset}-[0-9]*/log.csv")):
        with file.open(newline="") as handle:
            for row in csv.DictReader(handle):
                curves.setdefault(int(row["step"]), []).append(float(row["psnr"]))
    return curves


def _table(curves: dict[str, dict[int, list[float]]]) -> str:
    lines = ["| recipe | seeds | PSNR dB, mean | least | greatest |", "|---|--:|--:|--:|--:|"]
    for preset, curve in curves.items():
        last = curve[max(curve)]
        figures = f"{np.mean(last):.3f} | {min(last):.3f} | {max(last):.3f}"
        lines.append(f"| {preset} | {len(last)} | {figures} |")
    return "\n".join(lines)


def _write(curves: dict[str, dict[int, list[float]]], file: Path) -> None:
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["recipe", "step", "seed", "psnr"])
        for preset, curve in curves.items():
            for step, values in curve.items():
                writer.writerows([preset, step, i, f"{v:.4f}"] for i, v in enumerate(values))


def _plot(curves: dict[str, dict[int, list[float]]], file: Path) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for preset, curve in curves.items():
        steps = list(curve)
        (line,) = axes.plot(steps, [np.mean(curve[s]) for s in steps], label=preset)
        low, high = ([f(curve[s]) for s in steps] for f in (min, max))
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.2)
    axes.set_xlabel("steps")
    axes.set_ylabel("PSNR in dB: mean, least and greatest of the seeds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
