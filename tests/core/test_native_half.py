"""The CPU backend in bfloat16 and float16 against itself in float32."""

import pytest
import torch
from native_checks import BEST, compiled, every_set, picture, run
from networks import TINY
from official import OFFICIAL, eval_folder, official_file
from pictures import agreement

from lkdn_cli.pairs import read_pairs
from lkdn_core import Upscaler, load_model
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.backends import native
from lkdn_core.calibrate import calibration_pictures
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.models import WEIGHTS_FOLDER

#: Decibels of agreement on photographs, at least.
LEAST = {"bf16": 50, "fp16": 60}
every_half = pytest.mark.parametrize("precision", LEAST)
SHIPPED = sorted(file.stem for file in WEIGHTS_FOLDER.glob("lkdn-*.safetensors"))


@compiled
@every_set
@every_half
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models(name: str, precision: str, instructions: str) -> None:
    """Near float32 on photographs, and nothing infinite on patterns and noise."""
    weights, config = read_checkpoint(WEIGHTS_FOLDER / f"{name}.safetensors")
    pictures = calibration_pictures()[:, :, :40, :50].contiguous()
    photographs = len(pictures) - 5
    exact, rounded = (run(weights, config, instructions, pictures, p) for p in ("fp32", precision))
    assert rounded.isfinite().all()
    for one, other in zip(exact[:photographs], rounded[:photographs], strict=True):
        assert LEAST[precision] < agreement(one, other) < 110  # where float32 itself would be above


@compiled
@every_set
@every_half
@pytest.mark.parametrize("config", [*TINY, LKDNConfig(2, 34, 1), LKDNConfig(3, 64, 1)])
def test_any_network(config: LKDNConfig, precision: str, instructions: str) -> None:
    """Channels that fill no vector, and those that fill them all."""
    torch.manual_seed(1)
    weights = LKDN(config).state_dict()
    for size in ((1, 1), (2, 3), (14, 53), (31, 101)):
        x = picture(1, 3, *size)
        exact, rounded = (run(weights, config, instructions, x, p) for p in ("fp32", precision))
        assert agreement(exact, rounded) > LEAST[precision]


@compiled
@pytest.mark.slow
@every_half
@pytest.mark.parametrize("name", OFFICIAL)
def test_set5_with_official_weights(name: str, precision: str) -> None:
    weights, config = read_checkpoint(official_file(name))
    for _, small, _ in read_pairs(eval_folder("Set5") / f"x{config.scale}", config.scale):
        x = small[None].contiguous().float() / 255
        exact, rounded = (run(weights, config, BEST, x, p) for p in ("fp32", precision))
        assert agreement(exact, rounded) > LEAST[precision]


@compiled
@every_set
@every_half
def test_not_a_number_stays(precision: str, instructions: str) -> None:
    """Also one whose bits would be rounded to minus zero."""
    torch.manual_seed(3)
    config = LKDNConfig(2, 8, 1)
    x = picture(1, 3, 40, 45)
    x.view(torch.int32)[0, 1, 5, 6] = 0x7FFFFFFF
    weights = LKDN(config).state_dict()
    exact, rounded = (run(weights, config, instructions, x, p) for p in ("fp32", precision))
    assert rounded.isnan().any() and torch.equal(rounded.isnan(), exact.isnan())


@compiled
@every_half
def test_it_takes_less_memory(precision: str) -> None:
    weights, config = load_model(scale=4)
    single, half = (native.NativeNetwork(weights, config, BEST, p) for p in ("fp32", precision))
    assert half.bytes_for(360, 640) < 0.68 * single.bytes_for(360, 640)


@compiled
@every_half
def test_the_engine_has_it(precision: str) -> None:
    upscaler = Upscaler(scale=2, device="cpu", backend="native", precision=precision)
    single = Upscaler(scale=2, device="cpu", backend="native")
    x = picture(2, 3, 20, 30)
    assert agreement(upscaler.up(x), single.up(x)) > LEAST[precision]
