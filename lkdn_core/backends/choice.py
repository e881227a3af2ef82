"""Which backend runs a network: the one asked for, or the fastest as measured on this machine."""

import logging
import statistics
import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final, cast

import torch

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends import record
from lkdn_core.backends.interface import Backend, Network
from lkdn_core.checks import choose
from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import Weights

__all__ = ["AUTO", "backend_names", "check_backend_name", "load_network"]

log = logging.getLogger(__name__)
AUTO: Final = "auto"
#: Modules of this package, by name.
_NAMES: Final = ("native", "triton", "torch", "compile", "reference")
#: The one that has no obstacle.
_ANYWHERE: Final = "reference"
#: Side of the picture networks are measured on: large enough to tell them apart, done in a blink.
_SIDE: Final = {"cpu": 64, "cuda": 512}
_ROUNDS: Final = 3


def backend_names() -> tuple[str, ...]:
    """What ``backend`` may name, besides ``"auto"``."""
    return _NAMES


def check_backend_name(name: str) -> None:
    """Raise ``ArgumentError`` unless ``backend`` may be ``name``, here or elsewhere."""
    choose("backend", name, (AUTO, *_NAMES))


def load_network(
    name: str, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
) -> tuple[str, Network]:
    """The network for weights of ``load_model``, and the name of the backend that runs it.

    ``"auto"`` takes the fastest. The first time on a machine it measures those that can run, which
    takes a fraction of a second, and writes down the result in the user's cache folder. Raises
    ``ArgumentError`` if ``name`` is unknown or cannot run here.
    """
    case = _Case(weights, config, device, precision)
    if name != AUTO:
        case.check(name)
        return name, case.load(name)
    names = case.usable()
    known = record.recall(case.key(names))
    if known in names:
        return known, case.load(known)
    tried = [n for n in names if not _module(n).stalls(device, precision)] or [_ANYWHERE]
    networks = {n: case.load(n) for n in tried}
    best = next(iter(networks))
    if len(networks) > 1:
        seconds = _seconds(networks, case)
        best = min(seconds, key=seconds.__getitem__)
        log.debug("backends measured: %s", ", ".join(f"{n} {s:.4f} s" for n, s in seconds.items()))
        # What failed once may work the next time.
        record.remember(case.key(names), best, keep=len(seconds) == len(networks))
    return best, networks[best]


@dataclass(frozen=True, slots=True)
class _Case:
    """What is to be run, and on what."""

    weights: Weights
    config: LKDNConfig
    device: torch.device
    precision: str

    def check(self, name: str) -> None:
        check_backend_name(name)
        reason = _module(name).obstacle(self.device, self.precision)
        if reason is not None:
            raise ArgumentError(f"backend: {name} cannot run here: {reason}")

    def usable(self) -> list[str]:
        names = []
        for name in _NAMES:
            reason = _module(name).obstacle(self.device, self.precision)
            if reason is None:
                names.append(name)
            else:
                log.debug("backend %s: %s", name, reason)
                if name == "native" and self.device.type == "cpu":
                    _say_what_is_missed(reason)
        return names

    def load(self, name: str) -> Network:
        return _module(name).load(self.weights, self.config, self.device, self.precision)

    def key(self, names: list[str]) -> str:
        sizes = f"x{self.config.scale} {self.config.channels}x{self.config.blocks}"
        return record.key(self.device, sizes, self.precision, names)


@cache  # so once in a process
def _say_what_is_missed(reason: str) -> None:
    log.warning("backend native: %s; without it a CPU takes two to seven times as long", reason)


@torch.no_grad()
def _seconds(networks: dict[str, Network], case: _Case) -> dict[str, float]:
    """Medians, all networks in turn in every round; a first round warms up."""
    side, scale = _SIDE[case.device.type], case.config.scale
    spent = {name: list[float]() for name in networks}
    random, size = torch.Generator("cpu").manual_seed(0), side * scale
    rgb = torch.rand(1, 3, side, side, generator=random, dtype=torch.float32, device="cpu")
    rgb = rgb.to(case.device)
    out = torch.empty(1, 3, size, size, dtype=torch.float32, device=case.device)
    for turn in range(_ROUNDS + 1):
        for name in list(spent):
            network = networks[name]
            x = rgb.to(network.dtype).contiguous(memory_format=network.memory_format)
            _synchronize(case.device)
            start = time.perf_counter()
            try:
                network(x, out)
                _synchronize(case.device)
            except Exception as error:
                # Some compile code for a device nobody has tried; the others still run.
                if len(spent) == 1:
                    raise
                log.warning("backend %s fails here and is not used: %s", name, error)
                del spent[name]
                continue
            if turn:
                spent[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in spent.items()}


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _module(name: str) -> Backend:
    return cast(Backend, import_module(f"lkdn_core.backends.{name}"))
