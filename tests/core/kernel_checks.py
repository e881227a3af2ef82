"""The kernels against the reference, on a GPU or in Triton's interpreter; test_kernels runs them.

A file of its own process: whether Triton interprets is settled when it is imported. Maps and
results are poisoned with NaN first, so whatever is read unwritten, or left out, shows.
"""

import os

import pytest
import torch
from torch import Tensor

from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.fuse import Weights, fuse
from lkdn_core.kernels.launches import Maps, Schedule, map_bytes
from lkdn_core.kernels.pack import pack
from lkdn_core.kernels.tiles import TILES, Tile
from lkdn_core.network import run_network
from lkdn_core.prepare import fold

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
#: What the interpreter has no instruction for is left to the GPU.
FITTED = "exp" if INTERPRETED else "tanh"


def run(weights: Weights, x: Tensor, scale: int, dtype: torch.dtype, gelu: str) -> Tensor:
    """The network in kernels: from the middle of a larger picture into that of a larger one."""
    n, _, height, width = x.shape
    net = pack(weights, device=DEVICE, dtype=dtype)
    memory = torch.full((map_bytes(net, n, height, width),), 255, dtype=torch.uint8, device=DEVICE)
    maps = Maps.on(memory, net, n, height, width)
    assert maps.trunk.isnan().all() and maps.distilled.isnan().all()
    around = torch.full((n, 3, height + 2, width + 3), torch.nan, dtype=dtype, device=DEVICE)
    window = around[:, :, 1:-1, 2:-1].copy_(x)
    wide = torch.full((n, 3, height * scale, width * scale + 5), torch.nan, device=DEVICE)
    out = wide[..., 3:-2]
    tiles = dict.fromkeys(TILES, Tile(16, 4)) if INTERPRETED else TILES
    schedule = Schedule(net, maps, x.shape, tiles=tiles, gelu=gelu)
    for launch in (*schedule.trunk(window), schedule.pixels(out)):
        launch.run()
    assert wide[..., :3].isnan().all() and wide[..., -2:].isnan().all()
    return out.cpu().double()


def picture(n: int, height: int, width: int) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(7)).double()


def network(config: LKDNConfig) -> Weights:
    torch.manual_seed(1)
    return LKDN(config).state_dict()


@pytest.mark.skipif(not INTERPRETED, reason="no GPU runs them in fp32")
def test_single_precision() -> None:
    """Six channels, padded to eight; two pictures; sides that fill no tile."""
    weights = fuse(network(LKDNConfig(3, 6, 1, "rbsb", "rep")))
    x = picture(2, 5, 18)
    got = run(weights, x.float().double(), 3, torch.float32, "erf")
    expected = run_network(weights, x.float().double())
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_half_precision() -> None:
    """Range-folded, with attention maps far past 65504; the second block starts in the first."""
    trained = network(LKDNConfig(2, 8, 2))
    for layer in ("c5", "atten.pointwise", "atten.depthwise"):
        trained[f"B2.{layer}.weight"] *= 300
    x = picture(1, 9, 15)
    got = run(fold(trained, precision="fp16"), x, 2, torch.float16, FITTED)
    error = got - run_network(fuse(trained), x)
    assert -10 * error.square().mean().log10() > 60


@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes minutes")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_large_picture(dtype: torch.dtype) -> None:
    config = LKDNConfig(4, 42, 5, "rbsb", "rep")
    precision = "fp16" if dtype == torch.float16 else "fp32"
    weights = fold(network(config), precision=precision)
    x = picture(3, 131, 203)
    error = run(weights, x, 4, dtype, FITTED) - run_network(fuse(network(config)), x)
    assert -10 * error.square().mean().log10() > {torch.float16: 55, torch.bfloat16: 35}[dtype]
