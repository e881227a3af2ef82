"""The network that training runs: the fastest way to its gradients on a device."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from lkdn_core.arch import LKDN
from lkdn_core.fuse import dense_head, reparameterize
from lkdn_core.network import run_network
from lkdn_core.training.depthwise import fast_depthwise
from lkdn_core.training.native import run_native, training_kernels

__all__ = ["Forward", "fast_network", "fold"]

#: `run_network` with gradients: fused weights and (N, 3, H, W) to (N, 3, sH, sW).
Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]


def fast_network(device: torch.device, precision: str) -> Forward:
    """`run_network` in the way that is fastest on ``device`` in ``precision``, fp32 or bf16."""
    native = device.type == "cpu" and precision == "fp32"
    if native and (kernels := training_kernels()) is not None:
        return partial(run_native, kernels)
    return partial(run_network, depthwise=fast_depthwise(device))


def fold(network: LKDN, run: Forward) -> Callable[[Tensor], Tensor]:
    """``network`` as it is now through its differentiable fold and ``run``, of `fast_network`.

    The same function of (N, 3, H, W), with fewer maps in memory, and several times faster on a CPU;
    the network itself where it can't be folded.
    """
    if not network.config.deployable:
        return network
    return partial(run, dense_head(reparameterize(dict(network.named_parameters()))))
