"""Adan: adaptive Nesterov momentum (Xie et al. 2022, algorithm 1), with decoupled weight decay."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Adan"]


class Adan(torch.optim.Optimizer):
    """Adan with the betas of the LKDN paper as defaults (section 4.2).

    ``betas`` are decay rates of the gradient, the gradient difference and the squared Nesterov
    gradient (one minus the betas of the Adan paper). ``weight_decay`` is decoupled. A group's
    ``lr`` and ``step`` may be tensors of one number: then a step can be recorded as a CUDA graph.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 5e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; parameters without a gradient are left alone."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params, [p.grad for p in params])

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Move one group of parameters by their gradients."""
        states = [self.state[p] for p in params]
        for state, grad in zip(states, grads, strict=True):
            if not state:
                for name in ("mean", "difference", "square"):
                    state[name] = torch.zeros_like(grad)
                # The first difference is defined as zero.
                state["previous"] = grad.clone()
        beta1, beta2, beta3 = group["betas"]
        mean, diff, square, previous = (
            [s[name] for s in states] for name in ("mean", "difference", "square", "previous")
        )
        change = torch._foreach_sub(grads, previous)
        torch._foreach_lerp_(mean, grads, 1 - beta1)
        torch._foreach_lerp_(diff, change, 1 - beta2)
        nesterov = torch._foreach_add(grads, change, alpha=beta2)
        torch._foreach_mul_(square, beta3)
        torch._foreach_addcmul_(square, nesterov, nesterov, value=1 - beta3)
        torch._foreach_copy_(previous, grads)

        group["step"] += 1
        step = group["step"]
        correct1, correct2, correct3 = (1 - beta**step for beta in (beta1, beta2, beta3))
        lr = group["lr"]
        denominator = torch._foreach_sqrt(square)
        torch._foreach_div_(denominator, correct3**0.5)
        torch._foreach_add_(denominator, group["eps"])
        move = torch._foreach_mul(mean, lr / correct1)
        torch._foreach_add_(move, torch._foreach_mul(diff, lr * beta2 / correct2))
        torch._foreach_div_(move, denominator)
        torch._foreach_sub_(params, move)
        torch._foreach_div_(params, 1 + lr * group["weight_decay"])
