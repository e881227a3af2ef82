"""Gradients of a whole network, and when two ways to them agree."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lkdn_core.arch import LKDN
from lkdn_core.fuse import dense_head, reparameterize


def gradients(
    network: LKDN, x: Tensor, run: Callable[[dict[str, Tensor], Tensor], Tensor]
) -> list[Tensor]:
    """The result, and the gradients of the input and of all parameters in training form."""
    x = x.clone().requires_grad_()
    y = run(dense_head(reparameterize(dict(network.named_parameters()))), x)
    target = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return [y, *torch.autograd.grad((y * target).mean(), (x, *network.parameters()))]


def same(ours: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """Each of ``ours`` in float32 is the ``reference`` in float64, but for rounding."""
    for a, b in zip(ours, reference, strict=True):
        error, size = float((a.double() - b).detach().norm()), float(b.detach().norm())
        assert error <= 2e-5 * size + 1e-9
