"""What the engine asks of a backend, and of the network a backend loads."""

from typing import Protocol

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.fuse import Weights
from lkdn_core.progress import Work

__all__ = ["Backend", "Network"]


class Network(Protocol):
    """A network on its device, ready to run; safe to call from several threads."""

    @property
    def dtype(self) -> torch.dtype:
        """What ``x`` is given in."""

    @property
    def memory_format(self) -> torch.memory_format:
        """How ``x`` is laid out: contiguous or channels_last."""

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        """Fill ``out`` with ``x`` enlarged, both on the network's device.

        ``x`` (N, 3, H, W) in [0, 1]; ``out`` (N, 3, sH, sW) float32, whose last dimension is
        dense and whose others may be strided. Values are not clamped. Memory running out is the
        ``RuntimeError`` torch raises for it. It may count in ``work`` what is done, and end early,
        ``out`` half filled, once that is stopped.
        """

    def bytes_for(self, height: int, width: int) -> int:
        """Bytes one picture of this input size takes while it runs, ``x`` and ``out`` aside.

        An upper bound that grows with the height, and but for small steps with the width.
        """

    def release(self) -> None:
        """Give back what memory is kept on the device for the next run."""


class Backend(Protocol):
    """A module that makes networks."""

    def obstacle(self, device: torch.device, precision: str) -> str | None:
        """Why it cannot run here, half a sentence for the user; ``None`` when it can. Quick."""

    def stalls(self, device: torch.device, precision: str) -> bool:
        """Whether a small picture may take it seconds, so that it is never tried unasked."""

    def load(
        self, weights: Weights, config: LKDNConfig, device: torch.device, precision: str
    ) -> Network:
        """The network for weights of ``load_model``; ``obstacle`` was ``None``."""
