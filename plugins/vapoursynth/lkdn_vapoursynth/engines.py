"""The engines of this process: clips with the same options share one.

Players make the script anew at each seek, so an engine outlives its last clip by a while.
"""

import os
import threading
import time
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Final
from weakref import WeakValueDictionary

import torch

from lkdn_core import Upscaler

__all__ = ["EngineOptions", "borrow", "give_back"]

#: Seconds an engine is kept after its last clip is gone.
_GRACE: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The arguments of `Upscaler`; its batches are automatic."""

    scale: int
    model: str
    weights: str | None
    device: str
    precision: str
    tile: int
    overlap: int | None
    tta: int
    backend: str
    denoise: float | None


_Key = tuple[EngineOptions, tuple[int, ...] | None]

_building: Final = threading.Lock()
_engines: Final[WeakValueDictionary[_Key, Upscaler]] = WeakValueDictionary()
#: (when to let go, engine); the only thing `give_back` touches, as putting needs no lock.
_returned: Final[SimpleQueue[tuple[float, Upscaler]]] = SimpleQueue()
_keeper: threading.Thread | None = None


def borrow(options: EngineOptions) -> Upscaler:
    """The engine for ``options``, made now if there is none. Raises what `Upscaler` does."""
    global _keeper  # noqa: PLW0603 - one for the process
    key = options, _identity(options.weights)
    with _building:
        engine = _engines.get(key)
        if engine is None:
            engine = _make(options)
            _engines[key] = engine
        else:
            engine.renew()
        if _keeper is None:
            _keeper = threading.Thread(target=_keep, name="lkdn-keeper", daemon=True)
            _keeper.start()
    return engine


def give_back(engine: Upscaler) -> None:
    """Say that a clip no longer uses ``engine``. Takes no lock: clips die anywhere."""
    _returned.put((time.monotonic() + _GRACE, engine))


def _make(options: EngineOptions) -> Upscaler:
    engine = Upscaler(**asdict(options))
    if engine.device.type == "cuda":  # the clips' streams don't wait for this thread's
        torch.cuda.synchronize(engine.device)
    return engine


def _identity(weights: str | None) -> tuple[int, ...] | None:
    """Tells a weights file from others of its name, before or in another current folder."""
    try:
        status = os.stat(weights) if weights is not None else None
    except (OSError, ValueError):  # the engine says what is wrong with it
        return None
    if status is None:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _keep() -> None:
    while True:
        deadline, engine = _returned.get()
        time.sleep(max(0.0, deadline - time.monotonic()))
        del engine
