"""Parameters and multiply-adds, counted as the paper's Tables 4 and 5 count them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lkdn_core.arch import LKDN, LKDNConfig

__all__ = ["count_multiply_adds", "count_operations", "count_parameters"]

#: The paper's counter takes a LayerNorm with affine for four operations an element.
NORM_OPERATIONS = 4


def count_parameters(config: LKDNConfig) -> int:
    """Parameters of the deployed network, re-parameterised where it can be (section 3.2)."""
    return sum(p.numel() for p in _deployed(config).parameters())


def count_multiply_adds(config: LKDNConfig, *, width: int = 1280, height: int = 720) -> int:
    """Multiply-adds of the deployed network for an output of ``width`` x ``height`` pixels.

    The input is that size divided by the scale and rounded down, 426x240 for x3. Convolutions
    count one for each weight and output sample, pixel norms ``NORM_OPERATIONS`` an element.
    """
    size = width // config.scale, height // config.scale
    return count_operations(_deployed(config), *size, norm=NORM_OPERATIONS)


def count_operations(
    network: nn.Module, width: int, height: int, *, norm: int = 0, bias: bool = False
) -> int:
    """Multiply-adds of any network of convolutions on the meta device, for one RGB input.

    Counters differ in what else they count: ``norm`` operations an element of a LayerNorm, and
    whether adding a ``bias`` is one.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            added = bias and module.bias is not None
            total += (module.weight[0].numel() + added) * output.numel()
        elif isinstance(module, nn.LayerNorm):
            total += norm * output.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    network(torch.empty(1, 3, height, width, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


def _deployed(config: LKDNConfig) -> LKDN:
    with torch.device("meta"):
        return LKDN(replace(config, refinement="bsconv", upsampler="conv"))
