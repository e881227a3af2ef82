"""Torch operations, replayed as CUDA graphs: for CUDA devices."""

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends.graphs import Graphs
from lkdn_core.backends.reference import ReferenceNetwork
from lkdn_core.fuse import Weights
from lkdn_core.network import run_network
from lkdn_core.progress import Work

__all__ = ["TorchNetwork", "load", "obstacle", "stalls"]


def obstacle(device: torch.device, precision: str) -> str | None:
    """Without graphs this is the reference."""
    return None if device.type == "cuda" else "it needs a CUDA device"


def stalls(device: torch.device, precision: str) -> bool:
    """See ``Backend.stalls``."""
    return False


class TorchNetwork(ReferenceNetwork):
    """The reference's operations, launched together."""

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        super().__init__(weights, config, device, precision)
        self._graphs = Graphs(
            lambda x, _: run_network(self._weights, x), device=device, bytes_for=lambda *_: 0
        )

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        self._graphs.run(x, out.copy_)

    def release(self) -> None:
        self._graphs.release()


#: See ``Backend.load``.
load = TorchNetwork
