"""The Triton kernels, as far as they can be checked with and without a GPU."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from own_process import check

from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig
from lkdn_core.fuse import fuse
from lkdn_core.kernels.pack import Packed, pack
from lkdn_core.kernels.tiles import TILES

triton = pytest.importorskip("triton")
from lkdn_core.kernels import parts  # noqa: E402
from lkdn_core.kernels.launch import Launch  # noqa: E402
from lkdn_core.kernels.launches import Maps, Schedule, map_bytes  # noqa: E402

CPU = torch.device("cpu")
CHECKS = "kernel_checks.py"
#: Shared memory of a block, in bytes, by compute capability.
SHARED = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024}
#: Bytes of stack a thread may spill: some versions of the compiler take 32, others 88.
SPILLS = 128


def schedule(net: Packed, *, n: int = 1, height: int = 12, width: int = 64) -> list[Launch]:
    memory = torch.empty(map_bytes(net, n, height, width), dtype=torch.uint8)
    maps = Maps.on(memory, net, n, height, width)
    x = torch.empty(n, 3, height, width, dtype=net.dtype)
    out = torch.empty(n, 3, height * net.scale, width * net.scale)
    plan = Schedule(net, maps, x.shape, tiles=TILES, gelu="tanh")
    return [*plan.trunk(x), plan.pixels(out)]


def packed(config: LKDNConfig, dtype: torch.dtype = torch.float16) -> Packed:
    torch.manual_seed(0)
    return pack(fuse(LKDN(config).state_dict()), device=CPU, dtype=dtype)


@pytest.mark.slow
def test_kernels_in_the_interpreter() -> None:
    check(CHECKS, interpreted=True)


@pytest.mark.gpu
def test_kernels_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    check(CHECKS, interpreted=False)


@pytest.mark.parametrize(("name", "count"), [("lkdn-x2", 52), ("lkdn-s-x4", 34)])
def test_six_launches_a_block(name: str, count: int) -> None:
    net = packed(LKDN_CONFIGS[name])
    plan = schedule(net, n=2, height=13, width=131)
    assert len(plan) == count
    for launch in plan:
        columns, rows, pictures = launch.grid
        assert launch.constants["TX"] * columns >= 131
        assert 4 * rows >= 13
        assert pictures == 2


def test_maps_share_one_piece_of_memory() -> None:
    net = packed(LKDNConfig(2, 6, 2))
    size = map_bytes(net, 1, 3, 5)
    maps = Maps.on(torch.zeros(size, dtype=torch.uint8), net, 1, 3, 5)
    pieces = [*maps.trunk, *maps.wide, maps.narrow, maps.distilled]
    assert sum(piece.nbytes for piece in pieces) == size
    start = min(piece.data_ptr() for piece in pieces)
    assert all((piece.data_ptr() - start) % 16 == 0 for piece in pieces)


def test_padding_is_zero() -> None:
    net = packed(LKDN_CONFIGS["lkdn-s-x4"], torch.float32)
    assert (net.channels, net.wide, net.narrow) == (42, 48, 24)
    block = net.blocks[0]
    assert (block["u"].view(4, 24, 48)[:, 21:] == 0).all()
    assert (block["u"].view(4, 24, 48)[:, :21, :42] != 0).all()
    assert (block["c6"][:, 42:] == 0).all() and (block["gain"][42:] == 0).all()


def test_the_fitted_gelu() -> None:
    x = torch.linspace(-12, 12, 100001, dtype=torch.float64)
    s = (x * x).clamp_max(25)
    g0, g1, g2 = (g.value for g in (parts.G0, parts.G1, parts.G2))
    fitted = x / 2 * (1 + torch.tanh(x * (g0 + s * (g1 + s * g2))))
    assert (fitted - F.gelu(x)).abs().max() < 2.6e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "which"),
    [(80, (1, 4, 6)), (89, (1, 4, 6)), (90, (0, 1, 3, 4, 5, 6, -3, -2, -1))],
)
def test_kernels_compile_without_spilling(
    capability: int, which: tuple[int, ...], tmp_path: Path
) -> None:
    """For GPUs that are not here: within the limits of each, and on its tensor cores."""
    from aot import resources

    plan = schedule(packed(LKDNConfig(4, 56, 2)))
    # A first block's kernels (its "attend" starts the next block) and both ends, or the largest.
    plan = [plan[i] for i in which]
    with ThreadPoolExecutor(2) as pool:
        taken = pool.map(lambda launch: resources(launch, capability, tmp_path), plan)
    for launch, found in zip(plan, taken, strict=True):
        name = launch.kernel.__name__
        assert found.registers <= 255, name
        assert found.stack <= SPILLS, name
        assert found.shared <= SHARED[capability], name
        on_tensor_cores = re.search(r"\bHG?MMA\b", found.code) is not None
        assert on_tensor_cores == (name not in ("local", "residual")), name
