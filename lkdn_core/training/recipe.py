"""What a training run is: the network, the data, the optimiser and the schedule."""

import math
from dataclasses import dataclass
from typing import Literal

from lkdn_core.arch import LKDN_CONFIGS
from lkdn_core.errors import ArgumentError

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run. Defaults are the paper's LKDN recipe (section 4.2).

    ``network``: a name of ``LKDN_CONFIGS``. ``patch``: side of a low-resolution patch in pixels.
    ``lr`` is reached after ``warmup`` steps and kept, or follows half a cosine to
    ``final_lr`` at ``steps``. ``ema``: decay of the averaged weights, which are what ships.
    ``clip``: largest gradient norm, 0 for none. ``precision``: of the forward and backward pass.
    """

    network: str
    steps: int = 1_000_000
    batch_size: int = 64
    patch: int = 48
    lr: float = 5e-3
    final_lr: float = 5e-3
    warmup: int = 0
    ema: float = 0.999
    clip: float = 0.0
    loss: Literal["l1", "l2"] = "l1"
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.network not in LKDN_CONFIGS:
            names = ", ".join(LKDN_CONFIGS)
            raise ArgumentError(f"network: one of {names} is accepted, got {self.network!r}")
        for name in ("steps", "batch_size", "patch"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name}: at least 1 is accepted, got {getattr(self, name)}")

    def lr_at(self, step: int) -> float:
        """Learning rate of ``step`` (counted from 0)."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return warm * (self.final_lr + (self.lr - self.final_lr) * fall)
