"""``lkdn-models``: the models there are, with their size and cost."""

import argparse
import sys

from lkdn_cli.console import Parser, run

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Print the table of models; returns the exit code."""
    parser = Parser(
        prog="lkdn-models",
        description="List the models: parameters, and multiply-adds for one 1280x720 output frame.",
    )
    return run(parser, _print_table, argv)


def _print_table(_: argparse.Namespace) -> int:
    from lkdn_core.arch import LKDN_CONFIGS
    from lkdn_core.complexity import count_multiply_adds, count_parameters
    from lkdn_core.models import list_models

    out = sys.stdout
    out.write(f"{'model':24}{'scale':>6}{'parameters':>12}{'multiply-adds':>15}  weights\n")
    for model in list_models():
        network = "lkdn-s" if "lkdn-s" in model.name else "lkdn"
        config = LKDN_CONFIGS[f"{network}-x{model.scale}"]
        cost = f"{count_multiply_adds(config) / 1e9:.2f} G"
        where = "bundled" if model.bundled else "downloaded at first use"
        size = f"{count_parameters(config)}"
        out.write(f"{model.name:24}{f'x{model.scale}':>6}{size:>12}{cost:>15}  {where}\n")
    return 0
