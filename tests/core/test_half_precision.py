"""fp16 with folded weights: finite on anything, and on photographs what float32 gives.

CPUs compute in half precision a hundred times slower than in float32, so whole pictures run in
float32 with every result rounded to half; the first test checks that this is the same.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from official import OFFICIAL, eval_folder, official_file
from pictures import agreement
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lkdn_cli.pairs import read_pairs
from lkdn_core.calibrate import calibration_pictures
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.evaluate import psnr
from lkdn_core.fuse import Weights
from lkdn_core.models import WEIGHTS_FOLDER
from lkdn_core.network import run_network
from lkdn_core.prepare import prepare
from lkdn_core.quantize import quantize

CPU = torch.device("cpu")
SHIPPED = ["lkdn-s-x2", "lkdn-s-x3", "lkdn-s-x4"]
SLOW = pytest.mark.slow
EVERY = [*SHIPPED, *OFFICIAL]
#: ``F.gelu`` or what stands in for it.
Gelu = Callable[[Tensor], Tensor]


class Rounded(TorchFunctionMode):
    """Every float32 result goes through half precision, as in memory; sums stay in float32."""

    def __init__(self, gelu: Gelu = F.gelu) -> None:
        super().__init__()
        self.gelu = gelu

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = (self.gelu if func is F.gelu else func)(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            return result.half().float()
        return result


def fitted(x: Tensor) -> Tensor:
    """The GPU kernels' GELU, with the 2^-11 that the tanh instruction may be off, at its worst."""
    s = (x * x).clamp_max(25)
    t = torch.tanh(x * (0.7975078846 + s * (0.0370056458 - s * 0.00035151691)))
    return x / 2 * (1 + t * (1 - 2**-11))


def read(name: str) -> tuple[Weights, int]:
    shipped = name in SHIPPED
    file = WEIGHTS_FOLDER / f"{name}.safetensors" if shipped else official_file(name)
    weights, config = read_checkpoint(file)
    return weights, config.scale


def half(weights: Weights, x: Tensor, gelu: Gelu = F.gelu) -> Tensor:
    prepared = prepare(weights, device=CPU, precision="fp16")
    single = {k: v.float() for k, v in prepared.items()}
    with Rounded(gelu):
        return run_network(single, x.half().float().contiguous(memory_format=torch.channels_last))


@torch.inference_mode()
def test_rounding_every_result_is_half_precision() -> None:
    weights, _ = read("lkdn-s-x4")
    x = calibration_pictures()[:1, :, :20, :24]
    got = run_network(prepare(weights, device=CPU, precision="fp16"), x.half()).float()
    assert agreement(half(weights, x), got) > 70


@pytest.mark.parametrize("name", [SHIPPED[0], *(pytest.param(n, marks=SLOW) for n in SHIPPED[1:])])
@torch.inference_mode()
def test_shipped_weights_hold_stress(name: str) -> None:
    """Noise, a checkerboard, stripes, white, black: whatever is sharpest, and flat."""
    weights, _ = read(name)
    rows, columns = torch.meshgrid(torch.arange(36), torch.arange(40), indexing="ij")
    patterns = [(rows + columns) % 2, rows % 2, columns // 3 % 2, rows * 0, rows * 0 + 1]
    stress = torch.stack(patterns).float()[:, None].expand(-1, 3, -1, -1)
    noise = torch.rand(1, 3, 36, 40, generator=torch.Generator().manual_seed(5))
    assert half(weights, torch.cat([stress, noise, noise.round()])).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@torch.inference_mode()
def test_set5_in_half_precision(name: str) -> None:
    """60 dB to float32 on every picture, 0.01 dB of PSNR in the mean; with the GPU's GELU too."""
    weights, scale = read(name)
    single = prepare(weights, device=CPU, precision="fp32")
    lost: dict[str, list[float]] = {"exact": [], "fitted": []}
    for _, small, large in read_pairs(eval_folder("Set5") / f"x{scale}", scale):
        x = small[None].float() / 255
        exact = run_network(single, x.contiguous(memory_format=torch.channels_last))

        def figure(y: Tensor, large: Tensor = large) -> float:
            return psnr(quantize(y[0] * 255, bits=8), large, crop_border=scale)

        for way, gelu in (("exact", F.gelu), ("fitted", fitted)):
            y = half(weights, x, gelu)
            assert agreement(y, exact) > 60, way
            lost[way].append(figure(exact) - figure(y))
    means = {way: sum(values) / len(values) for way, values in lost.items()}
    print(name, means)
    assert all(abs(mean) < 0.01 for mean in means.values()), means
