"""What the tests of the CPU backend share: instruction sets, pictures, a run."""

import pytest
import torch
from torch import Tensor

from lkdn_core import native_library
from lkdn_core.arch import LKDNConfig
from lkdn_core.backends import native
from lkdn_core.fuse import Weights

BEST, *_ = native_library.instruction_sets() or ("absent",)
# Sorted: which of two is the best is measured, and may differ between the processes of a run.
SETS = sorted(native_library.instruction_sets()) or ["absent"]

compiled = pytest.mark.skipif(SETS == ["absent"], reason="the native library was not compiled")
every_set = pytest.mark.parametrize("instructions", SETS)


def picture(*shape: int, seed: int = 7) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def run(
    weights: Weights, config: LKDNConfig, instructions: str, x: Tensor, precision: str = "fp32"
) -> Tensor:
    n, _, height, width = x.shape
    out = torch.full((n, 3, height * config.scale, width * config.scale), 9.0)
    native.NativeNetwork(weights, config, instructions, precision)(x, out)
    return out
