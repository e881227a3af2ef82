import copy

import pytest
import torch
from official import OFFICIAL, official_file
from pictures import agreement
from torch import Tensor

from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.calibrate import attention_amplitudes, calibration_pictures
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.fuse import (
    center_norm,
    dense_head,
    fold_range,
    fold_rbsb,
    fold_upsampler,
    fuse,
    reparameterize,
)
from lkdn_core.network import run_network
from lkdn_core.prepare import prepare

CPU = torch.device("cpu")


def double(network: LKDN) -> tuple[LKDN, dict[str, Tensor]]:
    network = copy.deepcopy(network).double()
    return network, network.state_dict()


def picture(height: int = 13, width: int = 11) -> Tensor:
    torch.manual_seed(3)
    return torch.rand(2, 3, height, width, dtype=torch.float64)


@torch.no_grad()
def test_rbsb_becomes_bsconv(network: LKDN) -> None:
    network, weights = double(network)
    folded = fold_rbsb(weights)
    assert not any("rep1x1" in key for key in folded)
    plain = LKDN(LKDNConfig(*_sizes(network), "bsconv", network.config.upsampler)).double()
    plain.load_state_dict(folded)
    torch.testing.assert_close(plain(picture()), network(picture()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_upsampler_becomes_one_convolution(network: LKDN) -> None:
    network, weights = double(network)
    plain = LKDN(LKDNConfig(*_sizes(network), network.config.refinement, "conv")).double()
    plain.load_state_dict(fold_upsampler(weights))
    torch.testing.assert_close(plain(picture()), network(picture()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_head_becomes_dense_and_the_network_runs_as_functions(network: LKDN) -> None:
    network, weights = double(network)
    y = run_network(dense_head(reparameterize(weights)), picture())
    torch.testing.assert_close(y, network(picture()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_centred_norm_leaves_no_mean(network: LKDN) -> None:
    network, weights = double(network)
    centred = center_norm(weights)
    assert centred["B1.c6.weight"].mean(0).abs().max() < 1e-15
    y = run_network(dense_head(reparameterize(centred)), picture())
    torch.testing.assert_close(y, network(picture()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_range_folding_is_exact_and_reaches_its_target(network: LKDN) -> None:
    _, weights = double(network)
    weights["B1.c5.weight"] *= 3e4
    fused = fuse(weights)
    amplitudes = attention_amplitudes(fused, picture())
    folded = fold_range(fused, amplitudes)
    assert torch.equal(run_network(folded, picture()), run_network(fused, picture()))
    after = attention_amplitudes(folded, picture())
    for key, value in after.items():
        assert amplitudes[key].max() > 0
        assert 2 - 1e-9 <= value.max() <= 4 + 1e-9, key


@pytest.mark.parametrize("bias", [0.0, 0.7])
@torch.no_grad()
def test_a_block_whose_attention_is_dead_runs_in_half_precision(network: LKDN, bias: float) -> None:
    weights = network.state_dict()
    weights["B1.c6.weight"] = torch.zeros_like(weights["B1.c6.weight"])
    weights["B1.c6.bias"] = torch.linspace(-bias, bias, network.config.channels)
    single = prepare(weights, device=CPU, precision="fp32")
    half = prepare(weights, device=CPU, precision="fp16")
    x = picture(9, 17).float()
    assert agreement(run_network(half, x.half()).float(), run_network(single, x)) > 50


@torch.no_grad()
def test_fused_equals_unfused_in_single_precision(network: LKDN) -> None:
    fused = prepare(network.state_dict(), device=CPU, precision="fp32")
    x = picture(9, 17).float()
    torch.testing.assert_close(run_network(fused, x), network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_official_checkpoints_fuse_exactly(name: str) -> None:
    weights, config = read_checkpoint(official_file(name))
    network = LKDN(config).eval()
    network.load_state_dict(weights)
    x = picture(23, 19).float()[:1]
    y = run_network(prepare(weights, device=CPU, precision="fp32"), x)
    torch.testing.assert_close(y, network(x), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_official_checkpoints_run_in_half_precision(name: str) -> None:
    weights, _ = read_checkpoint(official_file(name))
    half = prepare(weights, device=CPU, precision="fp16")
    single = prepare(weights, device=CPU, precision="fp32")
    pictures = calibration_pictures()[..., :40, :44]
    for i in (0, 6):  # a photograph and a screenshot
        x = pictures[i : i + 1]
        error = run_network(half, x.half()).float() - run_network(single, x)
        assert -10 * error.square().mean().log10() > 60
    stress = torch.cat([pictures[8:], torch.zeros(1, 3, 40, 44)])
    assert run_network(half, stress.half()).isfinite().all()


def test_unfolded_lkdn_overflows_half_precision() -> None:
    """The reason for the folding: if this ever passes without it, delete ``fold_range``."""
    weights, _ = read_checkpoint(official_file("LKDN_x4.pth"))
    half = {k: v.half() for k, v in fuse(weights).items()}
    with torch.no_grad():
        assert (
            not run_network(half, calibration_pictures()[:1, :, :24, :24].half()).isfinite().all()
        )


def test_calibration_pictures_are_natural_and_synthetic() -> None:
    pictures = calibration_pictures()
    assert pictures.shape[1:] == (3, 64, 64)
    assert pictures.min() == 0
    assert pictures.max() == 1


def _sizes(network: LKDN) -> tuple[int, int, int]:
    return network.config.scale, network.config.channels, network.config.blocks
