"""The plain backend: torch operations one by one, on any device, in any precision."""

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.fuse import Weights
from lkdn_core.memory import bytes_per_pixel
from lkdn_core.network import run_unshuffled
from lkdn_core.prepare import DTYPES, layout, prepare
from lkdn_core.progress import Work

__all__ = ["ReferenceNetwork", "load", "obstacle", "stalls"]


def obstacle(device: torch.device, precision: str) -> str | None:
    """Runs everywhere."""
    return None


def stalls(device: torch.device, precision: str) -> bool:
    """A CPU takes a hundred times longer for convolutions in half precision."""
    return device.type == "cpu" and precision == "fp16"


class ReferenceNetwork:
    """The network in the faster layout of the device."""

    def __init__(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> None:
        self.dtype, self.memory_format = DTYPES[precision], layout(device)
        self._weights = prepare(weights, device=device, precision=precision)
        self._bytes_per_pixel = bytes_per_pixel(config, self.dtype)

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        y = run_unshuffled(self._weights, x)
        (height, width), scale = x.shape[2:], out.shape[2] // x.shape[2]
        # The pixel shuffle is the copy: output pictures are the largest maps of all.
        target = out.unflatten(3, (width, scale)).unflatten(2, (height, scale))
        target.permute(0, 1, 3, 5, 2, 4).copy_(y.unflatten(1, (3, scale, scale)))

    def bytes_for(self, height: int, width: int) -> int:
        return self._bytes_per_pixel * height * width

    def release(self) -> None:
        pass  # torch's allocator keeps it, if anybody


#: See ``Backend.load``.
load = ReferenceNetwork
