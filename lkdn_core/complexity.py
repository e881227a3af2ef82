"""Parameters and multiply-adds, counted as the paper's Tables 4 and 5 count them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lkdn_core.arch import LKDN, LKDNConfig

__all__ = ["count_multiply_adds", "count_parameters"]

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
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight[0].numel() * output.numel()
        elif isinstance(module, nn.LayerNorm):
            total += NORM_OPERATIONS * output.numel()

    network = _deployed(config)
    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.empty(1, 3, height // config.scale, width // config.scale, device="meta"))
    return total


def _deployed(config: LKDNConfig) -> LKDN:
    with torch.device("meta"):
        return LKDN(replace(config, refinement="bsconv", upsampler="conv"))
