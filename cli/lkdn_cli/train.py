"""``lkdn-train``: train a network on your own pictures; the run's folder is all its state."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lkdn_cli.console import Parser, run
from lkdn_cli.engine_options import add_device_option

if TYPE_CHECKING:
    from lkdn_core.arch import LKDN
    from lkdn_core.training.recipe import Recipe
    from lkdn_core.training.train import Validate

__all__ = ["main", "validation"]


def main(argv: list[str] | None = None) -> int:
    """Start or resume a training run; returns the exit code."""
    parser = Parser(
        prog="lkdn-train",
        description="Train LKDN. RUN is a folder: started if new, resumed if not, safe to kill. "
        "RUN/weights.safetensors goes to --weights of the other commands. With torchrun, several "
        "processes share each batch.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of the run")
    parser.add_argument("--network", help="lkdn-s-x2, lkdn-x4, ...; a preset may name its own")
    data = "folders of pictures (without links to folders), .tar files of them, or packs (.json)"
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=data)
    parser.add_argument("--exclude", default="", metavar="GLOB", help="file names to leave out")
    start = "weights to start from, of any scale, this or a smaller network: shipped, RUN/state.pt"
    parser.add_argument("--start", type=Path, help=start)
    add_device_option(parser)
    minutes = "stop after about so long (default: never); the same command goes on"
    parser.add_argument("--minutes", type=float, default=float("inf"), help=minutes)
    save = "from one save to the next (default 250)"
    parser.add_argument("--save-every", type=int, default=250, metavar="STEPS", help=save)
    validate = "pictures to measure at each save, as lkdn-evaluate does: PSNR in the curve, and "
    validate += "the best weights in RUN/best.safetensors"
    parser.add_argument("--validate", type=Path, metavar="FOLDER", help=validate)
    plot = "draw RUN/curve.png at the end (needs the extra 'plot')"
    parser.add_argument("--plot", action="store_true", help=plot)
    _add_recipe(parser.add_argument_group("recipe (what is given changes the preset)"))
    return run(parser, _train, argv)


def _add_recipe(group: "argparse._ArgumentGroup") -> None:
    unset: Any = argparse.SUPPRESS
    preset = "lkdn (the default) and lkdn-s are the paper's, others its ablations; or a .toml file"
    group.add_argument("--preset", default="lkdn", metavar="NAME", help=preset)
    for name, kind, text in (
        ("--steps", int, "optimiser steps"),
        ("--batch-size", int, "patches a step"),
        ("--patch", int, "side of a small patch in pixels"),
        ("--lr", float, "peak learning rate"),
        ("--final-lr", float, "to fall towards by half a cosine (default: constant)"),
        ("--warmup", int, "steps to the peak learning rate"),
        ("--ema", float, "decay of the averaged weights"),
        ("--clip", float, "largest gradient norm, 0 for none"),
        ("--seed", int, "of the start and the patches"),
        ("--teacher", str, "a checkpoint whose output is a second target"),
        ("--teacher-weight", float, "weight of its L1 loss"),
    ):
        group.add_argument(name, type=kind, default=unset, help=text)
    for name, choices, text in (
        ("--loss", ("l1", "l2"), "mean of absolute, or of squared differences"),
        (
            "--optimizer",
            ("adan", "adam", "muon"),
            "the paper's are adan and adam; muon gets further",
        ),
        ("--precision", ("fp32", "bf16"), "of the forward and backward pass"),
    ):
        group.add_argument(name, choices=choices, default=unset, help=text)


def _train(arguments: argparse.Namespace) -> int:
    from contextlib import nullcontext

    from lkdn_core.checks import whole
    from lkdn_core.devices import resolve_device
    from lkdn_core.errors import ArgumentError
    from lkdn_core.training.folder import locked
    from lkdn_core.training.heap import kept_heap
    from lkdn_core.training.parallel import main_process, processes, share
    from lkdn_core.training.train import Training, check_weights

    if not arguments.minutes >= 0:  # NaN is not
        raise ArgumentError(f"minutes: at least 0 is accepted, got {arguments.minutes}")
    if arguments.plot:
        from lkdn_cli.plot import plot_curve, require

        require()
    recipe = _recipe(arguments)
    # What can be refused is, before pictures are packed for an hour.
    whole("save_every", arguments.save_every, 1)
    check_weights(recipe, arguments.start)
    with (
        processes(resolve_device(arguments.device)) as device,
        locked(arguments.run) if main_process() else nullcontext(),
        kept_heap() if device.type == "cpu" else nullcontext(),
    ):
        for stage in recipe.stages:
            share(stage.batch_size)
        main = main_process()  # it alone measures pictures and shows progress
        validate = validation(arguments.validate, recipe.network.scale) if main else None
        packs = _packs(arguments)
        training = Training(recipe, arguments.run, packs, start=arguments.start, device=device)
        training.run(
            save_every=arguments.save_every,
            minutes=arguments.minutes,
            validate=validate,
            progress=_bar if main else iter,
        )
        plot = arguments.plot and main
    if plot:
        plot_curve(arguments.run / "log.csv", arguments.run / "curve.png")
    return 0


def _recipe(arguments: argparse.Namespace) -> "Recipe":
    from dataclasses import fields

    from lkdn_core.arch import LKDN_CONFIGS
    from lkdn_core.errors import ArgumentError
    from lkdn_core.training.recipe import Recipe, Stage, read_recipe

    network = LKDN_CONFIGS.get(arguments.network)
    if arguments.network and network is None:
        names = ", ".join(LKDN_CONFIGS)
        raise ArgumentError(f"network: one of {names} is accepted, got {arguments.network!r}")
    known = {f.name for kind in (Recipe, Stage) for f in fields(kind)} - {"network"}
    given = {k: v for k, v in vars(arguments).items() if k in known}
    if given.get("teacher"):
        given["teacher"] = str(Path(given["teacher"]).resolve())  # wherever the run goes on
    recipe = read_recipe(arguments.preset, network)
    if given.get("optimizer", recipe.optimizer) != recipe.optimizer:
        given["betas"] = ()  # those of the other optimiser are of no use
    return recipe.changed(given)


def _packs(arguments: argparse.Namespace) -> list[Path]:
    """The packs of ``--data``; pictures are packed into the run's folder once."""
    from lkdn_core.training.folder import keep_sources
    from lkdn_core.training.pack import pack, pack_mark
    from lkdn_core.training.parallel import main_process, wait_for_all

    packs = [p for p in arguments.data if p.suffix == ".json"]
    pictures = [p for p in arguments.data if p.suffix != ".json"]
    if main_process():
        data = [str(p.resolve()) for p in arguments.data]
        made = {str(p.resolve()): pack_mark(p) for p in packs}
        sources = {"data": data, "exclude": arguments.exclude, "packs": made}
        keep_sources(arguments.run, sources, start=arguments.start)
    if pictures:
        packs.append(arguments.run / "data.json")
        if main_process() and not packs[-1].exists():
            for part in arguments.run.glob("data.*.part"):  # of a command that was killed
                part.unlink()
            pack(pictures, packs[-1], exclude=arguments.exclude)
        wait_for_all()
    return packs


def validation(folder: Path | None, scale: int) -> "Validate | None":
    """What measures mean PSNR on the pictures of ``folder``, for the curve; ``None`` without."""
    if folder is None:
        return None
    import torch

    from lkdn_cli.pairs import read_pairs
    from lkdn_core.evaluate import psnr
    from lkdn_core.quantize import quantize
    from lkdn_core.training.forward import fast_network, fold

    pairs = list(read_pairs(folder, scale))

    def validate(network: "LKDN") -> dict[str, float]:
        total, device = 0.0, next(network.parameters()).device
        run = fast_network(device, "fp32")  # which tries gradients
        with torch.inference_mode():
            enlarge = fold(network, run)
            for _, small, large in pairs:
                enlarged = enlarge(small[None].to(device).float() / 255)[0].cpu()
                total += psnr(quantize(enlarged * 255, bits=8), large, crop_border=scale)
        return {"psnr": total / len(pairs)}

    return validate


def _bar(steps: range) -> Iterable[int]:
    try:
        from tqdm import tqdm
    except ImportError:  # a training machine may have torch and NumPy alone
        return steps
    bar: Iterable[int] = tqdm(steps, unit="step", mininterval=10)
    return bar
