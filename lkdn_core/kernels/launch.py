"""A kernel with its arguments: to be run, compiled ahead of time, or captured in a graph."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Launch", "compile_ahead"]


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel with everything it is called with."""

    kernel: Any
    grid: tuple[int, int, int]
    arguments: dict[str, Tensor | int | float]
    constants: dict[str, int | str | bool]
    num_warps: int

    def compile(self) -> None:
        """Compile it, or load it from Triton's cache, without starting it."""
        tensors = [v for v in self.arguments.values() if isinstance(v, Tensor)]
        with torch.cuda.device(tensors[0].device):
            self.kernel.warmup(**self.arguments, **self._options(), grid=self.grid)

    def run(self) -> None:
        """Start it on the current stream."""
        self.kernel[self.grid](**self.arguments, **self._options())

    def _options(self) -> dict[str, Any]:
        # Fused multiply-adds are asked for, because not every Triton has them by default.
        return {**self.constants, "num_warps": self.num_warps, "enable_fp_fusion": True}


def compile_ahead(launches: Iterable[Launch]) -> None:
    """Compile what is not in Triton's cache, side by side: most of it runs outside the GIL."""
    distinct = {(n.kernel.__name__, n.num_warps, *sorted(n.constants.items())): n for n in launches}
    with ThreadPoolExecutor() as pool:
        list(pool.map(Launch.compile, distinct.values()))
