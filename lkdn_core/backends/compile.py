"""``torch.compile`` on the reference's operations. Not chosen unasked: it compiles each shape."""

import shutil
from functools import partial

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends.reference import ReferenceNetwork
from lkdn_core.fuse import Weights
from lkdn_core.network import run_network
from lkdn_core.progress import Work

__all__ = ["CompiledNetwork", "load", "obstacle", "stalls"]


def obstacle(device: torch.device, precision: str) -> str | None:
    """Inductor writes C++ for the CPU, and needs a C compiler for what starts Triton kernels."""
    if shutil.which("g++") or shutil.which("clang++") or shutil.which("cl"):
        return None
    return "it needs a C++ compiler"


def stalls(device: torch.device, precision: str) -> bool:
    """The first run of each shape does."""
    return True


class CompiledNetwork(ReferenceNetwork):
    """Compiled for each shape by itself, which is faster than one for all shapes."""

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        super().__init__(weights, config, device, precision)
        self._run = torch.compile(
            partial(run_network, self._weights), fullgraph=True, dynamic=False
        )

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        out.copy_(self._run(x))


#: See ``Backend.load``.
load = CompiledNetwork
