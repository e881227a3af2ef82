"""Weights of a small network in a larger one."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import reparameterize
from lkdn_core.training.init import load_body, start_as_bilinear

SMALL = LKDNConfig(2, 6, 2, "rbsb", "rep")


@torch.no_grad()
def random_network(config: LKDNConfig) -> LKDN:
    """One with no weight at zero or one."""
    network = LKDN(config)
    for weight in network.parameters():
        weight.add_(0.3 * torch.randn_like(weight))
    return network


def grown(small: LKDN, config: LKDNConfig, *, deployed: bool = False) -> LKDN:
    network = LKDN(config)
    start_as_bilinear(network)
    weights = small.state_dict()
    load_body(network, reparameterize(weights) if deployed else weights)
    return network


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        LKDNConfig(2, 10, 3),
        LKDNConfig(2, 6, 3),
        LKDNConfig(2, 8, 4, "rbsb", "rep"),
    ],
)
@torch.no_grad()
def test_the_larger_network_computes_the_same(config: LKDNConfig, deployed: bool) -> None:
    torch.manual_seed(1)
    small = random_network(SMALL)
    before = copy.deepcopy(small.state_dict())
    picture = torch.rand(2, 3, 9, 11)
    expected = small(picture)
    got = grown(small, config, deployed=deployed)(picture)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    for name, weight in small.state_dict().items():
        assert torch.equal(weight, before[name]), name


@torch.no_grad()
def test_another_scale_keeps_its_upsampler() -> None:
    torch.manual_seed(2)
    small, config = random_network(SMALL), LKDNConfig(3, 10, 2)
    large = grown(small, config)
    x = torch.rand(1, 6, 9, 11)
    padded = large.get_submodule("B1")(F.pad(x, (0, 0, 0, 0, 0, 4)))
    torch.testing.assert_close(padded[:, :6], small.get_submodule("B1")(x), rtol=1e-4, atol=1e-4)
    assert padded[:, 6:].abs().max() < 1e-6  # the mean of rounding errors
    start = LKDN(config)
    start_as_bilinear(start)
    for name in ("upsampler.0.weight", "upsampler.0.bias"):
        assert torch.equal(large.state_dict()[name], start.state_dict()[name])


def test_all_that_is_new_learns() -> None:
    torch.manual_seed(3)
    large = grown(random_network(SMALL), LKDNConfig(2, 8, 3))
    picture, target = torch.rand(2, 3, 9, 11), torch.rand(2, 3, 18, 22)
    optimizer = torch.optim.Adam(large.parameters(), lr=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        torch.autograd.backward(F.l1_loss(large(picture), target))
        optimizer.step()
    idle = [name for name, p in large.named_parameters() if not _rows_with_gradient(p).all()]
    assert not idle


def _rows_with_gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.flatten(1).any(1) if parameter.ndim > 1 else parameter.grad != 0


@pytest.mark.parametrize("config", [LKDNConfig(2, 4, 3), LKDNConfig(2, 6, 1)])
def test_a_larger_start_is_refused(config: LKDNConfig) -> None:
    with pytest.raises(ArgumentError, match="start: weights of the same network or a smaller one"):
        grown(random_network(SMALL), config)
