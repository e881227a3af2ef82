"""``lkdn-models``: the models there are, with their size and cost."""

import argparse

from lkdn_cli.console import OK, Parser, run
from lkdn_cli.tables import print_table

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Print the table of models; returns the exit code."""
    parser = Parser(
        prog="lkdn-models",
        description="List the models: parameters, and multiply-adds for one 1280x720 output frame.",
    )
    return run(parser, _print_models, argv)


def _print_models(_: argparse.Namespace) -> int:
    print_table("models")
    return OK
