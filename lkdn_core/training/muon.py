"""Muon (Jordan et al. 2024) for the weights that mix channels, Adan for all others."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

from lkdn_core.training.adan import Adan

__all__ = ["Muon", "equalize"]

#: Decay rate of the momentum, as published.
_MOMENTUM: Final = 0.95
#: The published iteration: in five rounds it takes singular values into 0.7 to 1.2.
_QUINTIC: Final = 3.4445, -4.7750, 2.0315


class Muon(Adan):
    """Adan but for matrices, which move by their momentum with its singular values made equal.

    Matrices are the weights with several input channels, as (outputs, inputs * taps); depth-wise
    taps, biases and norms are Adan's, with ``betas``. ``lr`` serves both. A matrix moves by about
    ``lr * max(1, rows / columns) ** 0.5`` in spectral norm, by a Nesterov momentum. Raises
    ``ValueError`` where every parameter is a matrix, as Adan does without any.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 5e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    ) -> None:
        kinds: dict[bool, list[Tensor]] = {False: [], True: []}
        for param in params:
            kinds[param.ndim > 1 and param.shape[1] > 1].append(param)
        super().__init__(kinds[False], lr=lr, betas=betas)
        self.add_param_group({"params": kinds[True], "matrices": True})

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        if not group.get("matrices"):
            super()._update(group, params, grads)
            return
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for param, grad in zip(params, grads, strict=True):
            state = self.state[param]
            if not state:
                state["mean"] = torch.zeros_like(grad)
            state["mean"].lerp_(grad, 1 - _MOMENTUM)
            ahead = grad.lerp(state["mean"], _MOMENTUM).flatten(1)
            by_shape[ahead.shape].append((param, ahead))
        for (rows, columns), pairs in by_shape.items():
            moves = equalize(torch.stack([ahead for _, ahead in pairs]))
            moves *= -group["lr"] * max(1, rows / columns) ** 0.5
            for (param, _), move in zip(pairs, moves, strict=True):
                param.add_(move.view_as(param))


def equalize(matrices: Tensor) -> Tensor:
    """``matrices`` (N, R, C) with the same singular vectors, and values between 0.7 and 1.2.

    Five rounds of a Newton-Schulz iteration; values below some thousandth of the Frobenius norm do
    not get that far.
    """
    x: Tensor = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    a, b, c = _QUINTIC
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
