"""Backends on a CUDA device: values, graphs, threads. Nothing here runs without one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig
from lkdn_core.backends import load_network
from lkdn_core.backends.graphs import MAX_GRAPHS, Graphs
from lkdn_core.formats import FrameFormat
from lkdn_core.fuse import fuse
from lkdn_core.network import run_network
from lkdn_core.training import train
from lkdn_core.training.recipe import Recipe, Stage
from lkdn_core.training.train import Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
YUV = FrameFormat(family="yuv", subsampling=(1, 1))
#: Least agreement with float64, in dB.
LEAST = {"fp32": 60.0, "fp16": 55.0, "bf16": 35.0}  # torch's own fp32 convolutions may use TF32


def picture(n: int, height: int, width: int) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(8))


def trained(config: LKDNConfig) -> dict[str, Tensor]:
    torch.manual_seed(4)
    return LKDN(config).state_dict()


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a.double().cpu() - b.double().cpu()).square().mean().log10())


@pytest.mark.parametrize(
    ("name", "precision"),
    [("reference", "fp16"), ("triton", "fp16"), ("triton", "bf16"), *(("torch", p) for p in LEAST)],
)
@torch.inference_mode()
def test_a_backend_is_the_network(name: str, precision: str) -> None:
    """Sizes come and go, so graphs are recorded, replayed, and grow their memory."""
    config = LKDN_CONFIGS["lkdn-s-x4"]
    weights = trained(config)
    _, network = load_network(name, weights, config, CUDA, precision)
    for shape in [(1, 33, 70), (1, 33, 70), (2, 48, 31), (1, 33, 70), (2, 48, 31), (1, 1, 1)]:
        x = picture(*shape)
        out = torch.full((shape[0], 3, 4 * shape[1], 4 * shape[2]), torch.nan, device=CUDA)
        network(x.to(CUDA, network.dtype).contiguous(memory_format=network.memory_format), out)
        assert psnr(out, run_network(fuse(weights), x.double())) > LEAST[precision]


@torch.inference_mode()
def test_an_input_at_an_odd_address_first() -> None:
    """As a batch's last pictures may lie: nothing is left to compile when the graph is recorded."""
    config = LKDNConfig(2, 8, 1)
    weights, x = trained(config), picture(1, 20, 31).half()
    _, network = load_network("triton", weights, config, CUDA, "fp16")
    memory = torch.empty(x.numel() + 1, dtype=x.dtype, device=CUDA)
    shifted = memory[1:].view(x.shape).copy_(x)
    for _ in range(3):
        out = torch.full((1, 3, 40, 62), torch.nan, device=CUDA)
        network(shifted, out)
        assert psnr(out, run_network(fuse(weights), x.double())) > LEAST["fp16"]


@pytest.mark.parametrize("name", ["torch", "triton"])
@torch.inference_mode()
def test_threads_and_streams_do_not_mix(name: str) -> None:
    config = LKDNConfig(2, 8, 2)
    _, network = load_network(name, trained(config), config, CUDA, "fp16")
    pictures = [picture(1, 40 + i % 3, 50).to(CUDA) for i in range(24)]

    def enlarge(x: Tensor) -> Tensor:
        with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream()):
            out = torch.full((1, 3, 2 * x.shape[2], 100), torch.nan, device=CUDA)
            x = x.half().contiguous(memory_format=network.memory_format)
            network(x, out)
            torch.cuda.current_stream().synchronize()
            return out

    expected = [enlarge(x) for x in pictures]
    torch.cuda.synchronize()
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(enlarge, pictures), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=2e-3)


def test_graphs_run_in_and_out_of_inference_mode() -> None:
    graphs = Graphs(lambda x, _: x * 2, device=CUDA, bytes_for=lambda *_: 0)
    x = torch.rand(1, 3, 5, 4, device=CUDA)
    with torch.inference_mode():
        for _ in range(3):
            graphs.run(x, torch.empty_like(x).copy_)
    out = torch.empty_like(x)
    with torch.no_grad():
        graphs.run(x, out.copy_)
    assert torch.equal(out, 2 * x)


@torch.inference_mode()
def test_graphs_are_bounded() -> None:
    graphs = Graphs(lambda x, _: x * 2, device=CUDA, bytes_for=lambda *_: 0)
    for turn in range(2 * MAX_GRAPHS):
        x = torch.full((1, 3, 1 + turn, 4), float(turn), device=CUDA)
        for _ in range(3):
            out = torch.empty_like(x)
            graphs.run(x, out.copy_)
            assert (out == 2 * turn).all()
        assert len(graphs._recorded) <= MAX_GRAPHS


def frames(count: int) -> list[list[np.ndarray]]:
    random = np.random.default_rng(9)
    shapes = YUV.plane_shapes(64, 48)
    return [[random.integers(16, 235, s).astype(np.uint8) for s in shapes] for _ in range(count)]


@pytest.mark.parametrize("num_streams", [1, 3])
def test_copies_beside_the_work_mix_no_frames(weights_file: Path, num_streams: int) -> None:
    """Every frame in its place while several are under way, and whole after later ones."""
    source = frames(23)
    options = {"scale": 2, "weights": weights_file, "precision": "fp32", "backend": "torch"}
    upscaler = Upscaler(device="cuda", batch_size=2, num_streams=num_streams, **options)
    got = list(upscaler.stream(iter(source), YUV))
    plain = Upscaler(scale=2, weights=weights_file, device="cpu").stream(iter(source), YUV)
    for a, b in zip(got, plain, strict=True):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.astype(int), q.astype(int), atol=1)


def test_planes_on_the_device_stay_there(weights_file: Path) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, device="cuda")
    planes = [torch.from_numpy(np.stack(p)) for p in zip(*frames(2), strict=True)]
    there = upscaler.up_planes([torch.from_dlpack(p.cuda()) for p in planes], YUV)
    assert all(p.is_cuda for p in there)
    for p, q in zip(there, upscaler.up_planes(planes, YUV), strict=True):
        assert torch.equal(p.cpu(), q)


def recipe(optimizer: str, precision: str = "fp32") -> Recipe:
    """Two stages, so that graphs are recorded anew."""
    network = LKDNConfig(2, 8, 2, "rbsb", "rep")
    stages = (
        Stage(steps=7, batch_size=4, patch=12, lr=2e-3, warmup=3, final_lr=0),
        Stage(steps=6, batch_size=6, patch=10, lr=1e-3, loss="l2"),
    )
    return Recipe(network=network, stages=stages, optimizer=optimizer, precision=precision, clip=1)


def losses(folder: Path, packed: Path, optimizer: str, *, device: str, steps: int) -> list[float]:
    """Of the next ``steps`` of the run in ``folder``."""
    training = Training(recipe(optimizer), folder, [packed], device=torch.device(device))
    found = [float(training.train_step()) for _ in range(steps)]
    training.save()
    return found


@pytest.mark.parametrize("optimizer", ["adan", "adam", "muon"])
def test_recorded_steps_are_the_plain_ones(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    recorded = losses(tmp_path / "a", packed, optimizer, device="cuda", steps=13)
    on_cpu = losses(tmp_path / "b", packed, optimizer, device="cpu", steps=13)
    monkeypatch.setattr(train, "Replay", lambda body: body)
    plain = losses(tmp_path / "c", packed, optimizer, device="cuda", steps=13)
    assert len(set(recorded)) == 13
    np.testing.assert_allclose(recorded, plain, rtol=1e-3)
    np.testing.assert_allclose(recorded, on_cpu, rtol=5e-2)


@pytest.mark.parametrize("optimizer", ["adan", "adam", "muon"])
@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_run_goes_on_where_it_was_broken(
    tmp_path: Path, packed: Path, optimizer: str, devices: tuple[str, str]
) -> None:
    whole = losses(tmp_path / "whole", packed, optimizer, device="cuda", steps=13)
    run = tmp_path / "broken"
    broken = losses(run, packed, optimizer, device=devices[0], steps=5)
    broken += losses(run, packed, optimizer, device=devices[1], steps=8)
    # On one device nothing but the order of sums differs; what is forgotten shows from 2e-3 on.
    np.testing.assert_allclose(broken, whole, rtol=1e-3 if devices == ("cuda", "cuda") else 5e-2)


def test_training_in_bfloat16(tmp_path: Path, packed: Path) -> None:
    training = Training(recipe("muon", "bf16"), tmp_path / "run", [packed], device=CUDA)
    found = [float(training.train_step()) for _ in range(13)]
    assert np.isfinite(found).all()
    assert training.skipped == 0
