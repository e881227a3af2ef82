"""What all commands do alike: one line per error on stderr, exit codes, ``--verbose``."""

import argparse
import io
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from lkdn_cli import leave
from lkdn_core import __version__
from lkdn_core.errors import ArgumentError, LKDNError, why_not_piped

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "SALVAGED",
    "USAGE",
    "OutputError",
    "Parser",
    "exit_code",
    "message",
    "one_line",
    "put",
    "run",
    "say",
]

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
SALVAGED: Final = 3
INTERRUPTED: Final = 130

Command = Callable[[argparse.Namespace], int]
#: Characters that would move a terminal's cursor, and bytes of names that are not text.
_UNSHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line; ``--help`` tells the rest."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message}{self._near(message)} (see {self.prog} --help)")

    def _near(self, message: str) -> str:
        """Options like the first one that is not known, where ``message`` is of such."""
        _, found, rest = message.partition("unrecognized arguments: ")
        if not found:
            return ""
        from difflib import get_close_matches

        name = rest.split()[0].partition("=")[0]
        near = get_close_matches(name, self._option_string_actions, 2, 0.6)
        return f"; near it: {', '.join(near)}" if near else ""


def run(
    parser: Parser,
    command: Command,
    argv: list[str] | None,
    *,
    refused: Callable[[ArgumentError], object] | None = None,
) -> int:
    """Parse ``argv`` (``sys.argv`` when ``None``) and run ``command``; returns the exit code.

    2 for a wrong argument, 1 for any other failure, 130 after Ctrl-C, else what ``command`` says.
    Adds ``--version`` and ``-v``, which logs more and shows tracebacks. Log records go to stderr.
    ``refused`` is told of wrong arguments that ``command`` never gets to see.
    """
    _prepare_streams()
    alone = signal.getsignal(signal.SIGINT) is leave
    if alone:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser.add_argument("-v", "--verbose", action="store_true", help="log more, show tracebacks")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    arguments = argparse.Namespace(verbose=False)
    try:
        with _log_to_stderr(parser.prog):
            code = _parse_and_run(parser, command, argv, arguments, refused)
        if sys.stdout is not None:
            put("")  # what waits in its buffer
        return code
    except (Exception, KeyboardInterrupt) as error:
        if arguments.verbose and isinstance(error, Exception):
            traceback.print_exc()
        say(parser.prog, message(error))
        return exit_code(error)
    finally:
        if alone:  # Python takes a moment to end
            signal.signal(signal.SIGINT, leave)


def _parse_and_run(
    parser: Parser,
    command: Command,
    argv: list[str] | None,
    arguments: argparse.Namespace,
    refused: Callable[[ArgumentError], object] | None,
) -> int:
    given = sys.argv[1:] if argv is None else argv
    try:
        if "" in given:  # it would stand for this folder
            parser.error("an argument is empty, as of a variable that is not set")
        parser.parse_intermixed_args(_with_plain_names(given), arguments)
    except ArgumentError as error:
        if refused is not None:
            refused(error)
        raise
    except SystemExit as stop:  # --help, --version
        return stop.code if isinstance(stop.code, int) else FAILED
    if arguments.verbose:
        logging.getLogger().setLevel(logging.INFO)
    try:
        os.getcwd()
    except OSError as error:  # MKL, inside torch, would end the process
        raise LKDNError(f"the current folder can't be used: {error.strerror}") from error
    return command(arguments)


def _with_plain_names(given: Sequence[str]) -> list[str]:
    """``given`` with names behind ``--`` that can't be taken for options.

    ``parse_intermixed_args``, for options between names, takes them for such all the same.
    """
    before = [*given, "--"].index("--")
    names = (
        f"./{name}" if name.startswith("-") and name != "-" else name
        for name in given[before + 1 :]
    )
    return [*given[:before], *names]


def exit_code(error: BaseException) -> int:
    """The code of a command that ends with ``error``."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USAGE if isinstance(error, ArgumentError) else FAILED


def message(error: BaseException) -> str:
    """``error`` in one line."""
    text = one_line(str(error))
    if isinstance(error, KeyboardInterrupt):
        return text or "interrupted"
    if isinstance(error, OSError) and not isinstance(error, LKDNError) and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, LKDNError | OSError):
        return text or type(error).__name__
    return f"unexpected {type(error).__name__}: {text} (-v shows where)"


def one_line(text: str) -> str:
    """``text`` for a terminal, whatever names of files and other people's messages are in it."""
    joined = " ".join(line.strip() for line in text.splitlines())
    return _UNSHOWN.sub(lambda found: ascii(found[0])[1:-1], joined)


def say(prog: str, text: str) -> None:
    """Print ``prog: text`` to stderr, in one line; nothing happens where nobody reads it."""
    with suppress(OSError):
        print(f"{prog}: {one_line(text)}", file=sys.stderr)


class OutputError(LKDNError):
    """Standard output takes no more, so that nobody waits for the rest of the work."""


def put(text: str) -> None:
    """Write ``text`` to stdout at once. Raises `OutputError`, and nothing more is written then."""
    if sys.stdout is None:  # what Python makes of a closed one
        raise OutputError("standard output: is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What waits in its buffer would fail once more when Python ends.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        raise OutputError(f"standard output: {why_not_piped(error)}") from error


def _prepare_streams() -> None:
    """Make the standard streams such that messages reach nothing else and no name can't be told."""
    if sys.stderr is None:
        # Closed: messages would go to stdout, and the next file that is opened be descriptor 2.
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            os.dup2(null, 2)
            os.close(null)
        stream = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = stream
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


@contextmanager
def _log_to_stderr(prog: str) -> Iterator[None]:
    """Show the log as ``prog: message`` lines while a command runs."""
    root = logging.getLogger()
    handler, level = logging.StreamHandler(sys.stderr), root.level
    handler.setFormatter(_Formatter(f"{prog}: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
