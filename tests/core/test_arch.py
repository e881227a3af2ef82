import pytest
import torch
import torch.nn.functional as F
from official import OFFICIAL, official_file

from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig, receptive_radius
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.complexity import count_multiply_adds, count_parameters
from lkdn_core.fuse import reparameterize
from lkdn_core.training.init import load_body, start_as_bilinear


@pytest.mark.parametrize("name", LKDN_CONFIGS)
def test_every_paper_network_enlarges_by_its_scale(name: str) -> None:
    config = LKDN_CONFIGS[name]
    with torch.device("meta"):
        out = LKDN(config)(torch.empty(2, 3, 7, 5))
    assert out.shape == (2, 3, 7 * config.scale, 5 * config.scale)


# Paper tables 4 and 5. The multiply-adds of x3 depend on how 1280 / 3 is rounded: 426x240 gives
# 31.45 G, which the paper cuts to 31.4.
@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("lkdn-x2", 304, 69.1),
        ("lkdn-x3", 311, 31.4),
        ("lkdn-x4", 322, 18.3),
        ("lkdn-s-x4", 129, 7.3),
    ],
)
def test_cost_equals_the_paper(name: str, parameters: int, multiply_adds: float) -> None:
    config = LKDN_CONFIGS[name]
    assert round(count_parameters(config) / 1e3) == parameters
    assert count_multiply_adds(config) / 1e9 == pytest.approx(multiply_adds, abs=0.0501)


@pytest.mark.parametrize("file", OFFICIAL)
def test_official_checkpoints_load_strictly(file: str) -> None:
    weights, config = read_checkpoint(official_file(file))
    LKDN(config).load_state_dict(weights, strict=True)


@pytest.mark.parametrize("blocks", [1, 2])
def test_receptive_radius_is_exact(blocks: int) -> None:
    torch.manual_seed(0)
    radius = receptive_radius(blocks)
    side = 2 * radius + 5
    x = torch.rand(1, 3, 3, side, dtype=torch.float64)
    x[..., radius + 2] = float("nan")
    network = LKDN(LKDNConfig(2, 4, blocks)).double()
    touched = network(x).isnan().any(1)[0].any(0).nonzero().flatten() // 2
    assert (touched.min(), touched.max()) == (2, side - 3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("variant", ["bsconv", "rbsb"])
def test_untrained_start_is_bilinear(scale: int, variant: str) -> None:
    torch.manual_seed(0)
    small = LKDNConfig(scale, 8, 1)
    network = LKDN(LKDNConfig(scale, 8, 1, "rbsb", "rep") if variant == "rbsb" else small)
    start_as_bilinear(network)
    x = torch.rand(1, 3, 6, 7)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear")
    inside = slice(scale, -scale)  # the border is zero padded
    difference = (network(x) - expected)[..., inside, inside].abs().max()
    assert difference < 1e-6


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("scale", [2, 4])
@torch.no_grad()
def test_training_starts_from_what_there_is(deployed: bool, scale: int) -> None:
    torch.manual_seed(0)
    old = LKDN(LKDNConfig(2, 8, 1, "rbsb", "rep"))
    new = LKDN(LKDNConfig(scale, 8, 1, "rbsb", "rep"))
    load_body(new, reparameterize(old.state_dict()) if deployed else old.state_dict())
    x = torch.rand(1, 8, 9, 7)
    torch.testing.assert_close(new.get_submodule("B1")(x), old.get_submodule("B1")(x))
    if scale == 2:
        picture = torch.rand(1, 3, 9, 7)
        torch.testing.assert_close(new(picture), old(picture), rtol=0, atol=1e-5)
