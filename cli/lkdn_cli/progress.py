"""How far a command is: a bar on stderr for people, lines of JSON on stdout for programs."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from lkdn_cli.console import exit_code, message, put, say
from lkdn_core.errors import ArgumentError, LKDNError

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Reporter", "bar", "teller_of_refusals"]

#: Seconds between two lines of JSON about one file.
_INTERVAL: Final = 0.5
#: Of a bar whose count has decimals.
_FRACTIONS: Final = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"


class Reporter:
    """Tells what happens in the command ``prog``.

    ``as_json``: on stdout, one object a line; ``quiet``: not to people. Raises ``LKDNError`` where
    stdout is wanted and closed.
    """

    def __init__(self, prog: str, *, as_json: bool, quiet: bool) -> None:
        if as_json and sys.stdout is None:  # what Python makes of a closed one
            raise LKDNError("standard output: is closed")
        self._prog = prog
        self._as_json, self._quiet = as_json, quiet

    def tell(self, event: str, facts: Mapping[str, object], text: str = "") -> None:
        """Say ``text`` to people, or ``event`` and ``facts`` to a program.

        Raises ``LKDNError`` where the program doesn't listen any more.
        """
        if self._as_json:
            put(json.dumps({"event": event, **facts}, default=str) + "\n")
        if text and not self._quiet:
            say(self._prog, text)

    def tell_error(self, error: BaseException, facts: Mapping[str, object] | None = None) -> None:
        """Tell a program of ``error``, with ``facts``: about which file."""
        said = {"message": message(error), "code": exit_code(error)}
        self.tell("error", {**(facts or {}), **said})

    @contextmanager
    def events(self) -> Iterator[None]:
        """Inside, what is logged as a warning and the error that ends it are events too."""
        handler = _Warnings(self)
        root = logging.getLogger()
        if self._as_json:
            root.addHandler(handler)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            self.tell_error(error)
            raise
        finally:
            root.removeHandler(handler)

    @contextmanager
    def frames(self, *, total: int, done: int) -> Iterator[Callable[[], object]]:
        """Give a function to call after each frame. ``total``: 0 when not known."""
        if self._as_json:
            yield _Counter(self, total, done)
            return
        with bar(total=total, done=done, unit="frames", hidden=self._quiet) as shown:
            yield shown.update


def teller_of_refusals(prog: str, argv: Sequence[str] | None) -> Callable[[ArgumentError], object]:
    """What tells programs of arguments with which nothing began (`console.run`)."""
    given = sys.argv[1:] if argv is None else argv
    as_json = "--json" in given and sys.stdout is not None
    return Reporter(prog, as_json=as_json, quiet=True).tell_error


def bar(
    *, total: int, done: int = 0, unit: str, hidden: bool, fractions: bool = False
) -> "tqdm[NoReturn]":
    """A bar on stderr, for the thread that asks for it.

    ``total``: 0 when not known. ``fractions``: what is counted may be done in part.
    """
    from tqdm import tqdm

    live = sys.stderr.isatty()
    # Bar and lock stay in this thread: after an error inside tqdm another could wait for ever.
    tqdm.monitor_interval = 0
    return tqdm(
        total=total or None,
        initial=done,
        unit=f" {unit}",
        bar_format=_FRACTIONS if fractions else None,
        disable=hidden,
        mininterval=0.2 if live else 10,
        delay=0 if live else 10,  # a log file gets no bar for little work
    )


class _Counter:
    def __init__(self, reporter: Reporter, total: int, done: int) -> None:
        self._reporter, self._total = reporter, total
        self._start = self._frame = done
        self._begun = self._told = time.monotonic()

    def __call__(self) -> None:
        self._frame += 1
        now = time.monotonic()
        if now - self._told < _INTERVAL and self._frame != self._total:
            return
        self._told = now
        fps = (self._frame - self._start) / max(now - self._begun, 1e-3)
        left = max(0, self._total - self._frame) / fps if self._total else None
        self._reporter.tell(
            "progress",
            {
                "frame": self._frame,
                "frames": self._total or None,
                "fps": round(fps, 3),
                "eta": None if left is None else round(left, 1),
            },
        )


class _Warnings(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.tell("warning", {"message": record.getMessage().removeprefix("warning: ")})
