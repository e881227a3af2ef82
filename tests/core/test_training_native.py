"""Training's native layers and the network made of them, against torch in float64."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from networks import TINY
from torch import Tensor
from training_checks import gradients, same

from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig
from lkdn_core.fuse import dense_head, fuse, reparameterize
from lkdn_core.native_library import instruction_sets
from lkdn_core.network import run_network
from lkdn_core.training import forward
from lkdn_core.training.forward import fast_network
from lkdn_core.training.native import Kernels, run_native, training_kernels

SETS = sorted(instruction_sets()) or ["absent"]  # the order of two is measured
SIZES = [(1, 1), (1, 7), (5, 3), (13, 8), (37, 29)]
LAYERS = [(3, 1), (5, 1), (5, 3)]  # size, dilation
#: Odd channels, halves that need padding, several blocks, every form of a block.
CONFIGS = [*TINY, LKDNConfig(2, 14, 2, "rbsb", "rep"), LKDNConfig(3, 8, 1), LKDNConfig(4, 42, 1)]

pytestmark = pytest.mark.skipif(SETS == ["absent"], reason="the native library was not compiled")


@pytest.fixture(params=SETS)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    found = training_kernels(request.param)
    assert found is not None
    return found


class Layer(NamedTuple):
    """A depth-wise layer, its input and a gradient of its result."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    grad: Tensor
    dilation: int


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def among(values: Tensor, before: int, after: int) -> Tensor:
    """A map (N, H, W, C) as some channels of one that is NaN in the others."""
    whole = F.pad(values, (before, after), value=torch.nan)
    return whole[..., before : before + values.shape[3]]


def agree(ours: list[Tensor], reference: list[Tensor]) -> None:
    """Within the rounding of sums of up to a few thousand products of normal numbers."""
    for a, b in zip(ours, reference, strict=True):
        largest = float(b.detach().abs().max())
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6 * max(1, largest))


def plain_layer(layer: Layer, gelu: bool) -> list[Tensor]:
    """The result, and the gradients of map, weight and bias, by torch in float64."""
    *inputs, grad = (t.double() for t in layer[:4])
    for tensor in inputs:
        tensor.requires_grad_()
    (x, weight, bias), dilation = inputs, layer.dilation
    padding = weight.shape[2] // 2 * dilation
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, 1, padding, dilation, x.shape[3])
    y = (F.gelu(y) if gelu else y).permute(0, 2, 3, 1)
    return [y, *torch.autograd.grad(y, inputs, grad)]


def native_layer(
    kernels: Kernels, layer: Layer, gelu: bool, place: Callable[[Tensor], Tensor] = lambda x: x
) -> list[Tensor]:
    """The same by the kernels; ``place`` puts each map somewhere."""
    x, weight, bias, grad, dilation = layer
    x, grad, y, grad_x = (place(t) for t in (x, grad, torch.zeros_like(x), torch.zeros_like(x)))
    slope = place(torch.zeros_like(x)) if gelu else None
    kernels.depthwise(x, weight, bias, dilation, y, slope)
    return [y, grad_x, *kernels.depthwise_gradient(x, weight, dilation, grad, grad_x, slope)]


def layer_of(channels: int, size: int, dilation: int, shape: tuple[int, int]) -> Layer:
    torch.manual_seed(0)
    x, grad = torch.randn(2, 2, *shape, channels)
    weight, bias = torch.randn(channels, 1, size, size), torch.randn(channels)
    return Layer(x, weight, bias, grad, dilation)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize(("size", "dilation"), LAYERS)
@pytest.mark.parametrize("channels", [1, 7, 21, 24, 56])
def test_depthwise(kernels: Kernels, channels: int, size: int, dilation: int, gelu: bool) -> None:
    for shape in SIZES:
        layer = layer_of(channels, size, dilation, shape)
        agree(native_layer(kernels, layer, gelu), plain_layer(layer, gelu))


@pytest.mark.parametrize(("size", "dilation"), LAYERS)
@pytest.mark.parametrize("channels", [1, 7, 42])
def test_a_layer_keeps_to_its_channels(
    kernels: Kernels, channels: int, size: int, dilation: int
) -> None:
    layer = layer_of(channels, size, dilation, (5, 7))
    places: list[Tensor] = []

    def place(values: Tensor) -> Tensor:
        places.append(among(values, 3, 5))
        return places[-1]

    agree(native_layer(kernels, layer, True, place), plain_layer(layer, gelu=True))
    for part in places:
        around = part.as_strided((*part.shape[:3], channels + 8), part.stride(), 0)
        assert around[..., :3].isnan().all() and around[..., -5:].isnan().all()


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (21, 42), (42, 21), (56, 100), (7, 1)])
def test_dense(kernels: Kernels, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    i, o = kernels.round(inputs), kernels.round(outputs)
    for shape in ((1, 1, 1), (2, 5, 7), (1, 37, 29)):
        x, grad = torch.randn(*shape, i), torch.randn(*shape, o)
        weight, bias, base = torch.randn(i, o), torch.randn(o), torch.randn(*shape, o)
        wide = among(x, 8, 8), among(base, 16, 0), among(grad, 0, 8)
        product = x.double() @ weight.double()
        agree([kernels.dense(x, weight)], [product])
        agree([kernels.dense(wide[0], weight.T.contiguous().T, bias=bias)], [product + bias])
        agree([kernels.dense(x, weight, wide[1], add=True)], [product + base])
        agree([wide[1]], [product + base])
        for maps in ((x, grad), (wide[0], wide[2])):
            expected = torch.einsum("nhwo,nhwi->oi", grad.double(), x.double())
            agree(list(kernels.dense_gradient(*maps)), [expected, grad.double().sum((0, 1, 2))])


@pytest.mark.parametrize("channels", [1, 7, 24, 48])
def test_gelu(kernels: Kernels, channels: int) -> None:
    torch.manual_seed(0)
    x, bias = 3 * torch.randn(2, 5, 7, channels), torch.randn(channels)
    x[0, 0, 0, 0] = 30
    x[0, 0, 1, 0] = -30
    inner = (x.double() + bias.double()).requires_grad_()
    expected = F.gelu(inner)
    slopes = torch.autograd.grad(expected.sum(), inner)
    y, slope = torch.empty_like(x), torch.empty_like(x)
    kernels.gelu(x, bias, y, slope)
    agree([y, slope], [expected, *slopes])
    again = x.clone()
    kernels.gelu(again, bias, again, slope)
    assert torch.equal(again, y)


@pytest.mark.parametrize(("channels", "counted"), [(8, 2), (8, 7), (8, 8), (48, 42), (56, 56)])
def test_norm(kernels: Kernels, channels: int, counted: int) -> None:
    torch.manual_seed(0)
    x, base, grad = torch.randn(3, 2, 5, 7, channels)
    gain, shift = torch.randn(2, channels)
    x[0, 0, 0] = 3.0  # nothing but epsilon to divide by
    x[0, 0, 1] += 100  # far from zero
    for tensor in (x, gain, shift):
        tensor[..., counted:] = 0
    y, stats = kernels.norm(x, gain, shift, base, counted, 1e-5)
    found = kernels.norm_gradient(x, gain, stats, grad, counted)
    inputs = [t[..., :counted].double().requires_grad_() for t in (x, gain, shift)]
    normed = F.layer_norm(inputs[0], (counted,), *inputs[1:], 1e-5)
    expected = torch.autograd.grad(normed, inputs, grad[..., :counted].double())
    assert torch.equal(y[..., counted:], base[..., counted:])
    # Values near 100 have an error of 4e-6, which the norm makes larger.
    away = torch.ones(2, 5, 7, dtype=torch.bool)
    away[0, 0, :2] = False
    agree([y[away][:, :counted]], [(normed + base[..., :counted])[away]])
    agree([found[0][away][:, :counted]], [expected[0][away]])
    for a, b in zip(
        (y[..., :counted], found[0][..., :counted], *(g[:counted] for g in found[1:])),
        (normed + base[..., :counted], *expected),
        strict=True,
    ):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_network(kernels: Kernels, config: LKDNConfig) -> None:
    torch.manual_seed(1)
    network = LKDN(config)
    for shape in ((2, 3, 11, 7), (1, 3, 1, 1), (3, 3, 1, 1), (2, 3, 1, 5), (2, 3, 5, 1)):
        x = torch.rand(shape)
        ours = gradients(network, x, lambda w, x: run_native(kernels, w, x))
        same(ours, gradients(network.double(), x.double(), run_network))
        network.float()


def test_layout_of_the_input_and_no_gradients(kernels: Kernels) -> None:
    """As a teacher runs: fused, without gradients; channels last or not."""
    torch.manual_seed(1)
    weights = {k: v.float() for k, v in fuse(LKDN(LKDNConfig(2, 14, 2)).state_dict()).items()}
    x = torch.rand(2, 3, 9, 6)
    expected = run_network({k: v.double() for k, v in weights.items()}, x.double())
    with torch.no_grad():
        for layout in (torch.contiguous_format, torch.channels_last):
            y = run_native(kernels, weights, x.contiguous(memory_format=layout))
            torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-5)


def test_second_derivatives_are_refused(kernels: Kernels) -> None:
    """They would be wrong."""
    network = LKDN(LKDNConfig(2, 14, 1))
    weights = dense_head(reparameterize(dict(network.named_parameters())))
    loss = run_native(kernels, weights, torch.rand(1, 3, 9, 6)).square().mean()
    found = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        sum(grad.square().sum() for grad in found).backward()


def test_threads_do_not_change_a_bit(kernels: Kernels) -> None:
    results = []
    layer = layer_of(42, 5, 3, (33, 20))
    x, bias = layer.x, layer.bias
    for count in (1, 2, 3):
        with threads(count):
            found = native_layer(kernels, layer, gelu=True)
            slope, y = torch.empty_like(x), torch.empty_like(x)
            kernels.gelu(x, bias, y, slope)
            normed, stats = kernels.norm(x, bias, bias, y, 42, 1e-5)
            results.append([*found, y, slope, normed, stats])
            results[-1] += kernels.norm_gradient(x, bias, stats, y, 42)
            wide = F.pad(x, (0, kernels.round(42) - 42))
            weight, _ = kernels.dense_gradient(wide, wide)
            results[-1] += [weight, kernels.dense(wide, weight)]
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_what_training_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels for float32 on a CPU, torch for everything else and without the library."""
    cpu, found = torch.device("cpu"), training_kernels()
    assert fast_network(cpu, "fp32").func is run_native  # type: ignore[attr-defined]
    assert fast_network(cpu, "fp32").args == (found,)  # type: ignore[attr-defined]
    assert fast_network(cpu, "bf16").func is run_network  # type: ignore[attr-defined]
    monkeypatch.setattr(forward, "training_kernels", lambda: None)
    assert fast_network(cpu, "fp32").func is run_network  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lkdn-s-x2", "lkdn-x3"])
def test_the_papers_networks(kernels: Kernels, name: str) -> None:
    torch.manual_seed(1)
    network, x = LKDN(LKDN_CONFIGS[name]), torch.rand(1, 3, 20, 31)
    ours = gradients(network, x, lambda w, x: run_native(kernels, w, x))
    same(ours, gradients(network.double(), x.double(), run_network))
