"""What the plugin calls. Importing this is cheap: torch comes with the first ``Upscale``.

Nothing may escape from a callback, so each turns whatever is raised into one line for the user. A
clip may be freed by the garbage collector at any moment, even inside code of ours that holds a
lock: `_destroy`, and all it calls, must not take one.
"""

import atexit
import ctypes
import itertools
import json
import logging
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from lkdn_core.errors import LKDNError
from lkdn_vapoursynth.abi import (
    ABI,
    CREATE,
    DESCRIBE,
    DESTROY,
    PROCESS,
    TEXT_SIZE,
    Bridge,
    Clip,
    Job,
    Plan,
)
from lkdn_vapoursynth.stdout import stdout_to_stderr

if TYPE_CHECKING:
    from lkdn_vapoursynth.session import Session

__all__ = ["attach"]

log = logging.getLogger(__name__)
#: Seconds that calls under way get to finish when the interpreter exits.
EXIT_PATIENCE: Final = 30.0

_sessions: dict[int, "Session"] = {}
_numbers = itertools.count(1)
_bridges: list[Bridge] = []  # one, unless the plugin is loaded from two places


def attach(address: int) -> None:
    """Fill the plugin's function table, which lies at ``address``. Raises `LKDNError`."""
    bridge = Bridge.from_address(address)
    if bridge.abi != ABI:
        raise LKDNError(
            f"the filter (ABI {bridge.abi}) and lkdn_vapoursynth (ABI {ABI}) are of different"
            " versions: install lkdn-suite again"
        )
    bridge.create, bridge.process, bridge.destroy, bridge.describe = _CALLBACKS
    bridge.alive = 1
    if not _bridges:
        atexit.register(_detach)
    _bridges.append(bridge)


def _detach() -> None:
    """The interpreter is about to go: let no call in, and see off those that are in."""
    for bridge in _bridges:
        bridge.alive = 0
    deadline = time.monotonic() + EXIT_PATIENCE
    while any(bridge.active for bridge in _bridges) and time.monotonic() < deadline:
        time.sleep(0.002)


def _create(
    arguments: bytes,
    clip: "ctypes._Pointer[Clip]",
    plan: "ctypes._Pointer[Plan]",
    error: int,
) -> None:
    number = next(_numbers)
    try:
        with stdout_to_stderr():
            from lkdn_vapoursynth.session import Options, Session

            options = Options(**json.loads(arguments.decode("utf-8", "surrogateescape")))
            session = _sessions[number] = Session(clip.contents, options)
        session.plan.session = number
        plan[0] = session.plan
        _put("", error)
    except BaseException as raised:
        _close(number)  # Ctrl-C may come at the very end
        _put(_line(raised), error)


def _process(pointer: "ctypes._Pointer[Job]", error: int) -> None:
    job = pointer.contents
    try:
        source, target = job.source[: job.count], job.target[: job.count]
        _sessions[job.session].run(job.stream, source, target)
        _put("", error)
    except BaseException as raised:
        last = job.first + job.count - 1
        which = f"frame {last}" if job.count == 1 else f"frames {job.first} to {last}"
        _put(f"{which}: {_line(raised)}", error)


def _destroy(number: int, error: int) -> None:
    try:
        _close(number)
        _put("", error)
    except KeyboardInterrupt:  # the plugin calls again, and hands it on to the script
        pass
    except BaseException:
        log.exception("a clip was not closed")
        _put("", error)


def _close(number: int) -> None:
    """Close that session if it is there."""
    if (session := _sessions.get(number)) is not None:
        session.close()
        _sessions.pop(number, None)


def _describe(topic: int, text: int, error: int) -> None:
    try:
        with stdout_to_stderr():
            lines = (_version, _models, _devices)[topic]()
        _put("".join(f"{line}\n" for line in lines), text)
        _put("", error)
    except BaseException as raised:
        _put(_line(raised), error)


def _version() -> list[str]:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    return [f"python={platform.python_version()}", f"torch={torch}"]


def _models() -> list[str]:
    from lkdn_core import list_models

    return [line for m in list_models() for line in (f"model={m.name}", f"scale={m.scale}")]


def _devices() -> list[str]:
    import torch

    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [f"device={name}" for name in ("auto", "cpu", *cuda)]


def _line(error: BaseException) -> str:
    """One line for the user; what is not their doing goes to the log with its traceback."""
    if isinstance(error, LKDNError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; it is installed with lkdn-suite"
    if _is_interrupt(error):
        return "interrupted"
    log.error("unexpected error", exc_info=error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind ``error``: what torch cleans up then may fail in its turn."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _put(text: str, buffer: int) -> None:
    """Write ``text`` to a buffer of the plugin's of `TEXT_SIZE` bytes, cut to fit."""
    encoded = text.encode("utf-8", "replace")[: TEXT_SIZE - 1] + b"\0"
    ctypes.memmove(buffer, encoded, len(encoded))


#: ctypes does not keep these alive by itself.
_CALLBACKS: Final = CREATE(_create), PROCESS(_process), DESTROY(_destroy), DESCRIBE(_describe)
