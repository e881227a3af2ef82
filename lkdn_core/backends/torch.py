"""Torch operations in channels_last, replayed as CUDA graphs: for CUDA devices."""

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends.graphs import Graphs
from lkdn_core.fuse import Weights
from lkdn_core.memory import bytes_per_pixel
from lkdn_core.network import run_network
from lkdn_core.prepare import DTYPES, prepare

__all__ = ["COMPILES", "TorchNetwork", "load", "obstacle"]

COMPILES = False


def obstacle(device: torch.device, precision: str, config: LKDNConfig) -> str | None:
    """Without graphs this is the reference."""
    return None if device.type == "cuda" else "it needs a CUDA device"


def load(
    weights: Weights, config: LKDNConfig, device: torch.device, precision: str
) -> "TorchNetwork":
    """See ``Backend.load``."""
    return TorchNetwork(weights, config, device, precision)


class TorchNetwork:
    """The reference's operations, launched together."""

    memory_format = torch.channels_last

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        self.dtype = DTYPES[precision]
        self._bytes_per_pixel = bytes_per_pixel(config, self.dtype)
        prepared = prepare(weights, device=device, precision=precision)
        self._graphs = Graphs(
            lambda x, _: run_network(prepared, x), device=device, bytes_for=lambda *_: 0
        )

    def __call__(self, x: Tensor, out: Tensor) -> None:
        self._graphs.run(x, out.copy_)

    def bytes_for(self, height: int, width: int) -> int:
        return self._bytes_per_pixel * height * width
