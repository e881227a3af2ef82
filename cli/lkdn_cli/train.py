"""``lkdn-train``: train a network on your own pictures; the run's folder is all its state."""

import argparse
from pathlib import Path

from lkdn_cli.console import Parser, run

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Start or resume a training run; returns the exit code."""
    parser = Parser(
        prog="lkdn-train",
        description="Train LKDN. RUN is a folder: started if new, resumed if not, safe to kill. "
        "RUN/weights.safetensors goes to --weights of the other commands.",
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--network", required=True, help="lkdn-s-x2, lkdn-x4, ...")
    data = "folders of pictures, .tar files of them, or packs (.json) that lkdn-degrade made"
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=data)
    parser.add_argument("--exclude", default="", metavar="GLOB", help="file names to leave out")
    start = "weights to start from, shipped ones or RUN/ema.safetensors; the scale may differ"
    parser.add_argument("--start", type=Path, help=start)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    recipe = parser.add_argument_group("recipe (defaults: the paper's for LKDN)")
    recipe.add_argument("--steps", type=int, default=1_000_000)
    recipe.add_argument("--batch-size", type=int, default=64)
    recipe.add_argument("--patch", type=int, default=48, help="side of a small patch in pixels")
    recipe.add_argument("--lr", type=float, default=5e-3, help="peak learning rate")
    recipe.add_argument("--final-lr", type=float, help="at the last step (default: constant)")
    recipe.add_argument("--warmup", type=int, default=0, help="steps to the peak learning rate")
    recipe.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    recipe.add_argument("--clip", type=float, default=0.0, help="largest gradient norm, 0 for none")
    recipe.add_argument("--loss", choices=("l1", "l2"), default="l1")
    recipe.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    recipe.add_argument("--seed", type=int, default=0)
    return run(parser, _train, argv)


def _train(arguments: argparse.Namespace) -> int:
    from lkdn_core.engine import resolve_device
    from lkdn_core.training.pack import pack
    from lkdn_core.training.recipe import Recipe
    from lkdn_core.training.train import Training

    recipe = Recipe(
        network=arguments.network,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        patch=arguments.patch,
        lr=arguments.lr,
        final_lr=arguments.lr if arguments.final_lr is None else arguments.final_lr,
        warmup=arguments.warmup,
        ema=arguments.ema,
        clip=arguments.clip,
        loss=arguments.loss,
        precision=arguments.precision,
        seed=arguments.seed,
    )
    packs = [p for p in arguments.data if p.suffix == ".json"]
    pictures = [p for p in arguments.data if p.suffix != ".json"]
    if pictures:
        packs.append(arguments.run / "data.json")
        if not packs[-1].exists():
            pack(pictures, packs[-1], exclude=arguments.exclude)
    device = resolve_device(arguments.device)
    Training(recipe, arguments.run, packs, start=arguments.start, device=device).run()
    return 0
