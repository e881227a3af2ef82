"""The fastest backend of each case, written down in the user's cache folder.

A convenience: where the file cannot be read or written, or holds something else, the choice is
measured again. Two programs writing at once lose one of the entries.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from lkdn_core import __version__
from lkdn_core.cache import cache_folder
from lkdn_core.devices import device_name
from lkdn_core.files import replacing

__all__ = ["key", "recall", "remember"]

log = logging.getLogger(__name__)
#: What this process knows, so that all its engines agree whatever becomes of the file.
_known: dict[str, str] = {}


def key(device: torch.device, sizes: str, precision: str, names: Sequence[str]) -> str:
    """Everything the answer depends on, as one line."""
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else ""
    parts = __version__, torch.__version__, device_name(device), threads, sizes, precision
    return " | ".join(str(part) for part in (*parts, ",".join(names)))


def recall(key: str) -> str | None:
    """The backend noted for ``key``."""
    if key not in _known:
        name = _read().get(key)
        if not isinstance(name, str):
            return None
        _known[key] = name
    return _known[key]


def remember(key: str, name: str, *, keep: bool) -> None:
    """Note a backend for ``key`` in this process and, to ``keep`` it, in the file."""
    _known[key] = name
    if not keep:
        return
    try:
        text = json.dumps(_read() | {key: name}, indent=1, sort_keys=True)
        with replacing(_file()) as file:
            file.write(text.encode())
    except OSError as error:
        log.info("the choice of backend is not kept: %s", error)


def _file() -> Path:
    return cache_folder() / "backends.json"


def _read() -> dict[str, object]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
