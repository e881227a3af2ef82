"""What all commands do alike: one line per error on stderr, exit codes, ``--verbose``."""

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from lkdn_core import __version__
from lkdn_core.errors import ArgumentError, LKDNError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "SALVAGED",
    "USAGE",
    "Parser",
    "exit_code",
    "message",
    "run",
]

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
SALVAGED: Final = 3
INTERRUPTED: Final = 130

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line; ``--help`` tells the rest."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see {self.prog} --help)")


def run(parser: Parser, command: Command, argv: list[str] | None) -> int:
    """Parse ``argv`` (``sys.argv`` when ``None``) and run ``command``; returns the exit code.

    2 for a wrong argument, 1 for any other failure, 130 after Ctrl-C, else what ``command`` says.
    Adds ``--version`` and ``-v``, which logs more and shows tracebacks. Log records go to stderr.
    """
    parser.add_argument("-v", "--verbose", action="store_true", help="log more, show tracebacks")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    arguments = argparse.Namespace(verbose=False)
    try:
        with _log_to_stderr(parser.prog):
            parser.parse_args(argv, arguments)
            if arguments.verbose:
                logging.getLogger().setLevel(logging.INFO)
            return command(arguments)
    except SystemExit as stop:  # --help, --version
        return stop.code if isinstance(stop.code, int) else FAILED
    except (Exception, KeyboardInterrupt) as error:
        if arguments.verbose and isinstance(error, Exception):
            traceback.print_exc()
        print(f"{parser.prog}: {message(error)}", file=sys.stderr)
        return exit_code(error)


def exit_code(error: BaseException) -> int:
    """The code of a command that ends with ``error``."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USAGE if isinstance(error, ArgumentError) else FAILED


def message(error: BaseException) -> str:
    """``error`` in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return text or "interrupted"
    if isinstance(error, LKDNError | OSError):
        return text or type(error).__name__
    return f"unexpected {type(error).__name__}: {text} (-v shows where)"


@contextmanager
def _log_to_stderr(prog: str) -> Iterator[None]:
    """Show the log as ``prog: message`` lines while a command runs."""
    root = logging.getLogger()
    handler, level = logging.StreamHandler(sys.stderr), root.level
    handler.setFormatter(logging.Formatter(f"{prog}: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
