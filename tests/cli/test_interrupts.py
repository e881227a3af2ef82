"""Signals that end the work in good order."""

import os
import signal

import pytest

from lkdn_cli.interrupts import Interrupts


def test_interrupts_are_caught_where_terminals_do_not_hang_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows."""
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    handler = signal.getsignal(signal.SIGINT)
    with Interrupts().caught():
        assert signal.getsignal(signal.SIGINT) != handler
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.posix
def test_the_end_of_a_terminal_is_a_signal_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts().caught():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with Interrupts().caught():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_hint_needs_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> int:
        raise BrokenPipeError

    interrupts = Interrupts()
    with interrupts.caught(), interrupts.patient("hint"):
        monkeypatch.setattr(os, "write", gone)
        signal.raise_signal(signal.SIGINT)
    assert interrupts.requested
