"""``torch.compile`` on the reference's operations. Not chosen unasked: it compiles each shape."""

import shutil
from functools import partial

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.fuse import Weights
from lkdn_core.memory import bytes_per_pixel
from lkdn_core.network import run_network
from lkdn_core.prepare import DTYPES, prepare

__all__ = ["COMPILES", "CompiledNetwork", "load", "obstacle"]

COMPILES = True


def obstacle(device: torch.device, precision: str, config: LKDNConfig) -> str | None:
    """Inductor writes C++ for the CPU, and needs a C compiler for what starts Triton kernels."""
    if shutil.which("g++") or shutil.which("clang++") or shutil.which("cl"):
        return None
    return "it needs a C++ compiler"


def load(
    weights: Weights, config: LKDNConfig, device: torch.device, precision: str
) -> "CompiledNetwork":
    """See ``Backend.load``."""
    return CompiledNetwork(weights, config, device, precision)


class CompiledNetwork:
    """Compiled for each shape by itself, which is faster than one for all shapes."""

    memory_format = torch.channels_last

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        self.dtype = DTYPES[precision]
        self._bytes_per_pixel = bytes_per_pixel(config, self.dtype)
        prepared = prepare(weights, device=device, precision=precision)
        self._run = torch.compile(partial(run_network, prepared), fullgraph=True, dynamic=False)

    def __call__(self, x: Tensor, out: Tensor) -> None:
        out.copy_(self._run(x))

    def bytes_for(self, height: int, width: int) -> int:
        return self._bytes_per_pixel * height * width
