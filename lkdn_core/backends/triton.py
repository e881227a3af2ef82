"""Fused Triton kernels (``lkdn_core.kernels``), replayed as CUDA graphs: for NVIDIA GPUs."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends.graphs import Graphs
from lkdn_core.fuse import Weights
from lkdn_core.kernels.launch import compile_ahead
from lkdn_core.kernels.pack import pack
from lkdn_core.prepare import DTYPES, fold
from lkdn_core.progress import Work

if TYPE_CHECKING:
    from lkdn_core.kernels.launches import Schedule

__all__ = ["TritonNetwork", "load", "obstacle", "stalls"]

#: The oldest architecture whose tensor cores take bfloat16 and whose limits the kernels keep.
_LEAST_CAPABILITY: Final = (8, 0)


def obstacle(device: torch.device, precision: str) -> str | None:
    """NVIDIA GPUs from Ampere on, where Triton is installed, in half precision."""
    if device.type != "cuda" or torch.version.hip:
        return "it needs an NVIDIA GPU"
    if precision == "fp32":
        return "it computes in fp16 or bf16"  # full products without tensor cores would only spill
    if find_spec("triton") is None:
        return "Triton is not installed"
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        return "it needs compute capability 8.0, this GPU has {}.{}".format(*capability)
    return None


def stalls(device: torch.device, precision: str) -> bool:
    """See ``Backend.stalls``."""
    return False


class TritonNetwork:
    """The network as 6 kernels a block (``kernels.launches``)."""

    memory_format = torch.contiguous_format

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        # Not at the top: importing Triton takes a while, and it may not be there.
        from lkdn_core.kernels import launches, tiles

        self.dtype = DTYPES[precision]
        self._kernels = launches
        self._packed = pack(fold(weights, precision=precision), device=device, dtype=self.dtype)
        self._tiles = tiles.TILES
        self._compiled = False
        self._graphs = Graphs(self._trunk, device=device, bytes_for=self._map_bytes)

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        # The last kernel writes where the caller wants it, so it is in no graph.
        self._graphs.run(x, lambda schedule: schedule.pixels(out).run())

    def bytes_for(self, height: int, width: int) -> int:
        return self._map_bytes(1, height, width)

    def release(self) -> None:
        self._graphs.release()

    def _trunk(self, x: Tensor, memory: Tensor) -> "Schedule":
        maps = self._kernels.Maps.on(memory, self._packed, x.shape[0], *x.shape[2:])
        schedule = self._kernels.Schedule(
            self._packed, maps, x.shape, tiles=self._tiles, gelu="tanh"
        )
        launches = list(schedule.trunk(x))
        if not self._compiled:
            compile_ahead(launches)
            self._compiled = True
        for launch in launches:
            launch.run()
        return schedule

    def _map_bytes(self, n: int, height: int, width: int) -> int:
        return self._kernels.map_bytes(self._packed, n, height, width)


#: See ``Backend.load``.
load = TritonNetwork
