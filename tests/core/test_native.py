"""The CPU backend against plain torch: every instruction set this processor has, in turn."""

import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from native_checks import BEST, compiled, every_set, picture, run
from networks import TINY
from official import OFFICIAL, official_file

from lkdn_core import Upscaler, load_model, native_library
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.backends import native, reference
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.fuse import Weights
from lkdn_core.memory import CPU_BUDGET
from lkdn_core.progress import Work

CPU = torch.device("cpu")
SIZES = [(1, 1), (1, 70), (53, 1), (2, 3), (17, 49), (31, 101)]


@torch.inference_mode()
def both(
    weights: Weights, config: LKDNConfig, instructions: str, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    ours = run(weights, config, instructions, x)
    plain = torch.empty_like(ours)
    reference.load(weights, config, CPU, "fp32")(x, plain)
    return ours, plain


def agree(weights: Weights, config: LKDNConfig, instructions: str, x: torch.Tensor) -> None:
    ours, plain = both(weights, config, instructions, x)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)


@compiled
@every_set
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shipped_models(scale: int, instructions: str) -> None:
    weights, config = load_model(scale=scale)
    for size in SIZES:
        agree(weights, config, instructions, picture(1, 3, *size))


@compiled
@every_set
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_weights(name: str, instructions: str) -> None:
    weights, config = read_checkpoint(official_file(name))
    agree(weights, config, instructions, picture(1, 3, 19, 51))


@compiled
@every_set
@pytest.mark.parametrize("config", [*TINY, LKDNConfig(2, 34, 1), LKDNConfig(3, 64, 1)])
def test_any_network(config: LKDNConfig, instructions: str) -> None:
    """Channels that fill no vector, and those that fill them all."""
    torch.manual_seed(1)
    agree(LKDN(config).state_dict(), config, instructions, picture(2, 3, 14, 53))


@compiled
@every_set
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_do_not_change_a_bit(instructions: str, precision: str) -> None:
    """In a picture where they follow each other closely, and in a wide one where they need not."""
    small = LKDNConfig(2, 8, 2)
    cases = [(*load_model(scale=2), 75, 60), (LKDN(small).state_dict(), small, 90, 700)]
    for weights, config, height, width in cases:
        x, results = picture(1, 3, height, width), list[torch.Tensor]()
        try:
            for threads in (1, 2, 3, 8):
                torch.set_num_threads(threads)
                results.append(run(weights, config, instructions, x, precision))
        finally:
            torch.set_num_threads(1)
        assert all(torch.equal(r, results[0]) for r in results)


@compiled
def test_several_callers_at_once() -> None:
    weights, config = load_model(scale=2)
    network = native.NativeNetwork(weights, config, BEST)
    sizes = [(20, 31), (33, 17), (20, 31), (9, 64)] * 3
    pictures = [picture(1, 3, *size, seed=i) for i, size in enumerate(sizes)]

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(2)
        out = torch.empty(1, 3, 2 * x.shape[2], 2 * x.shape[3])
        network(x, out)
        return out

    try:
        alone = [enlarge(x) for x in pictures]
        with ThreadPoolExecutor(4) as pool:
            assert all(map(torch.equal, pool.map(enlarge, pictures), alone))
    finally:
        torch.set_num_threads(1)


@compiled
def test_not_a_number_stays_where_it_can_reach() -> None:
    torch.manual_seed(3)
    config = LKDNConfig(2, 8, 1)
    x = picture(1, 3, 40, 45)
    x[0, 1, 5, 6] = torch.nan
    x[0, 0, 5, 7] = torch.inf
    ours, plain = both(LKDN(config).state_dict(), config, BEST, x)
    assert ours.isnan().any() and torch.equal(ours.isnan(), plain.isnan())
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5, equal_nan=True)


@compiled
@every_set
def test_gelu_is_exact(instructions: str) -> None:
    """A network that is a GELU of its input: everything but the way through c1 and c2 is zero."""
    config = LKDNConfig(2, 8, 1)
    weights = {k: torch.zeros_like(v) for k, v in LKDN(config).state_dict().items()}
    weights["fea_conv.pw.weight"][0, 0] = 1  # channel 0 is red
    weights["fea_conv.dw.weight"][0, 0, 1, 1] = 24
    weights["fea_conv.dw.bias"][0] = -12
    weights["c1.weight"][0, 0] = 1
    weights["c2.pw.weight"][0, 0] = 1
    weights["c2.dw.weight"][0, 0, 1, 1] = 1
    weights["upsampler.0.weight"][:, 0, 1, 1] = 1
    x = torch.linspace(0, 1, 3 * 40 * 400).reshape(1, 3, 40, 400)
    ours = torch.empty(1, 3, 80, 800)
    native.NativeNetwork(weights, config, instructions)(x, ours)
    features = 24 * x[:, 0, :, :].double() - 12
    exact = torch.nn.functional.gelu(features) + features
    error = (ours[:, 0, ::2, ::2] - exact).abs() / exact.abs().clamp_min(1)
    assert error.max() < 1e-6


@compiled
def test_memory_grows_with_the_width_only() -> None:
    weights, config = load_model(scale=4)
    network = native.NativeNetwork(weights, config, BEST)
    assert network.bytes_for(4000, 320) == network.bytes_for(400, 320)
    assert network.bytes_for(1, 320) < network.bytes_for(400, 320)
    wide = network.bytes_for(2160, 3840)
    assert 1.9 < wide / network.bytes_for(2160, 1920) < 2.1
    assert wide < 2**30


@compiled
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory of a process")
def test_released_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    weights, config = load_model(scale=4)
    network = native.NativeNetwork(weights, config, BEST)
    x = picture(1, 3, 40, 1300)
    out = torch.empty(1, 3, 160, 5200)
    network(x, out)
    before = resident()
    network.release()
    assert before - resident() > network.bytes_for(40, 1300) / 2 > 2**24
    network(x, out)  # with memory of its own again


@compiled
def test_threads_take_little_memory_in_wide_pictures() -> None:
    weights, config = load_model(scale=4)
    network, taken = native.NativeNetwork(weights, config, BEST), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            taken.append(network.bytes_for(720, 1280))
    finally:
        torch.set_num_threads(1)
    assert taken[1] < 1.3 * taken[0]


@compiled
def test_many_threads_leave_a_picture_whole() -> None:
    upscaler = Upscaler(scale=2, device="cpu", backend="native")
    try:
        torch.set_num_threads(64)
        assert upscaler.bytes_for(1080, 1920) < CPU_BUDGET
        assert upscaler.bytes_for(2160, 3840) < CPU_BUDGET
    finally:
        torch.set_num_threads(1)


@compiled
@pytest.mark.parametrize("threads", [1, 3])
def test_it_can_be_stopped(threads: int) -> None:
    weights, config = load_model(scale=2)
    network, work = native.NativeNetwork(weights, config, BEST), Work(1200 * 700)
    x = torch.rand(1, 3, 1200, 700)
    out = torch.full((1, 3, 2400, 1400), torch.nan)
    torch.set_num_threads(threads)
    try:
        with ThreadPoolExecutor(1) as pool:
            end = pool.submit(network, x, out, work)
            while torch.isnan(out[0, 0, 200]).all():
                assert not end.done()
            work.stop()
            end.result()
        assert 0 < work.share < 1
        assert torch.isnan(out[0, 0, -200:]).all()
        network(x, out)  # in the memory that was left
        assert torch.equal(out, run(weights, config, BEST, x))
    finally:
        torch.set_num_threads(1)


AT_WORK = """
import threading, torch
from lkdn_core import load_model
from lkdn_core.backends import native
network = native.load(*load_model(scale=2), torch.device("cpu"), "fp32")
x, out, begun = torch.rand(1, 3, 90, 120), torch.empty(1, 3, 180, 240), threading.Event()
def work():  # nothing but that: an operation of torch's may end the process by itself
    while True:
        network(x, out)
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


@compiled
def test_the_process_ends_while_a_thread_is_at_work() -> None:
    """As ComfyUI's worker may be when its server is stopped."""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", AT_WORK], check=True, timeout=100)


@compiled
def test_wide_and_tall(weights_file: Path) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", backend="native")
    plain = Upscaler(scale=2, weights=weights_file, device="cpu", backend="reference")
    for size in ((3, 5000), (5000, 3)):
        x = picture(1, 3, *size)
        torch.testing.assert_close(upscaler.up(x), plain.up(x), rtol=0, atol=1e-5)


FORKED = """
import os, sys, torch
from lkdn_core import Upscaler
torch.set_num_threads(2)
upscaler, x = Upscaler(scale=2, device="cpu", backend="native"), torch.rand(1, 3, 40, 40)
before = upscaler.up(x)
child = os.fork()
if child == 0:
    same = torch.equal(upscaler.up(x), before)
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@compiled
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_has_threads_too() -> None:
    command = [sys.executable, "-c", FORKED]
    folder = Path(__file__).parents[2]
    subprocess.run(command, cwd=folder, check=True, timeout=60)


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "not on cuda" in str(native.obstacle(torch.device("cuda"), "fp32"))
    monkeypatch.setattr(native, "_library", lambda: None)
    monkeypatch.setattr(native, "library_file", lambda: None)
    assert "no working C++ compiler" in str(native.obstacle(CPU, "fp32"))
    monkeypatch.setattr(native, "library_file", lambda: tmp_path / "lkdn_native.so")
    assert "another version" in str(native.obstacle(CPU, "fp32"))


def test_a_library_of_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lkdn_native.so").write_bytes(b"no library")
    monkeypatch.setattr(native_library, "library_file", lambda: tmp_path / "lkdn_native.so")
    assert native_library.native_library.__wrapped__() is None
