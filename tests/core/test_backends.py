"""The table of backends and the choice among them; each backend has its own tests."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn
from unittest.mock import patch

import pytest
import torch

from lkdn_core import Upscaler, cache, load_model
from lkdn_core.arch import LKDNConfig
from lkdn_core.backends import backend_names, choice, load_network, native, record, reference
from lkdn_core.errors import ArgumentError
from lkdn_core.native_library import native_library
from lkdn_core.progress import Work

CPU, CONFIG = torch.device("cpu"), LKDNConfig(2, 8, 1)


class Slow:
    """A network that takes a known time, by a clock that other work on the machine cannot move."""

    now = 0.0

    dtype, memory_format = torch.float32, torch.contiguous_format

    def __init__(self, seconds: float) -> None:
        self.seconds, self.runs = seconds, 0
        self.fail: Callable[[torch.Tensor, torch.Tensor], None] | None = None

    def __call__(self, x: torch.Tensor, out: torch.Tensor, work: Work | None = None) -> None:
        assert x.shape[2] * CONFIG.scale == out.shape[2]
        if self.fail:
            self.fail(x, out)
        Slow.now += self.seconds
        self.runs += 1

    def bytes_for(self, height: int, width: int) -> int:
        return height * width


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Slow]:
    """Three backends in place of the real ones, and a fourth that cannot run."""
    networks = {"slow": Slow(0.02), "quick": Slow(0.002), "stalls": Slow(0), "absent": Slow(0)}
    modules = {
        name: SimpleNamespace(
            stalls=lambda *_, name=name: name == "stalls",
            obstacle=lambda *_, name=name: "no such device" if name == "absent" else None,
            load=lambda *_, network=network: network,
        )
        for name, network in networks.items()
    }
    monkeypatch.setenv("LKDN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(record, "_known", {})
    monkeypatch.setattr(choice, "_NAMES", tuple(networks))
    monkeypatch.setattr(choice, "time", SimpleNamespace(perf_counter=lambda: Slow.now))
    monkeypatch.setattr(choice, "_module", modules.__getitem__)
    return networks


def chosen(name: str = "auto") -> str:
    return load_network(name, {}, CONFIG, CPU, "fp32")[0]


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(record, "_known", {})


def test_the_fastest_is_measured_once(
    table: dict[str, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen() == "quick"
    runs = table["quick"].runs
    assert runs and not table["stalls"].runs and not table["absent"].runs
    forget(monkeypatch)
    assert chosen() == "quick"
    assert table["quick"].runs == runs


def test_half_precision_on_a_cpu_is_not_tried_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds for the smallest picture."""
    monkeypatch.setenv("LKDN_CACHE", str(tmp_path))
    monkeypatch.setattr(record, "_known", {})
    weights, config = load_model(scale=2)
    with patch.object(reference.ReferenceNetwork, "__call__", side_effect=AssertionError):
        name, _ = load_network("auto", weights, config, CPU, "fp16")
    usable = native.obstacle(CPU, "fp16") is None
    assert name == ("native" if usable else "reference")


def test_one_that_fails_is_passed_over(
    table: dict[str, Slow], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(x: torch.Tensor, out: torch.Tensor) -> None:
        raise RuntimeError("no kernel image is available")

    table["quick"].fail = fail
    assert chosen() == "slow"
    table["quick"].fail = None
    assert chosen() == "slow"
    forget(monkeypatch)
    assert chosen() == "quick"  # another process tries again
    assert "backend quick fails here and is not used: no kernel image" in caplog.text


def test_another_case_is_another_choice(table: dict[str, Slow]) -> None:
    assert chosen() == "quick"
    table["slow"].seconds, table["quick"].seconds = 0.0, 0.01
    assert chosen() == "quick"
    assert load_network("auto", {}, CONFIG, CPU, "bf16")[0] == "slow"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "\x00\xff"])
def test_a_damaged_file_is_ignored(
    table: dict[str, Slow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "cache" / "backends.json"
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    assert chosen() == "quick"
    assert "quick" in json.loads(file.read_text()).values()
    # Nor does an entry for something that is no backend count.
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), "abacus")))
    forget(monkeypatch)
    assert chosen() == "quick"


def test_no_place_to_write_does_not_matter(
    table: dict[str, Slow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LKDN_CACHE", str(tmp_path / "file" / "cache"))
    assert chosen() == "quick"
    runs = table["quick"].runs
    assert chosen() == "quick"  # the process itself remembers
    assert table["quick"].runs == runs


def test_a_full_disk_leaves_nothing(
    table: dict[str, Slow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert chosen() == "quick"
    assert not list((tmp_path / "cache").iterdir())


def test_no_home_does_not_matter(table: dict[str, Slow], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> NoReturn:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("LKDN_CACHE")
    monkeypatch.setattr(cache, "user_cache_path", unknown)
    assert chosen() == "quick"


@pytest.mark.posix
def test_others_may_read_the_choice(table: dict[str, Slow], tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert chosen() == "quick"
    finally:
        os.umask(before)
    assert (tmp_path / "cache" / "backends.json").stat().st_mode & 0o777 == 0o644


def test_a_single_one_is_not_measured(
    table: dict[str, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_NAMES", ("absent", "slow"))
    assert chosen() == "slow"
    assert not table["slow"].runs


def test_asking_for_one(table: dict[str, Slow]) -> None:
    assert chosen("slow") == "slow"
    with pytest.raises(ArgumentError, match="backend: absent cannot run here: no such device"):
        chosen("absent")
    with pytest.raises(ArgumentError, match=r"backend: auto, slow, .* is accepted, got 'fast'"):
        chosen("fast")


def test_a_cpu_without_the_native_library_is_told_once(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def said(backend: str = "auto") -> list[str]:
        caplog.clear()
        Upscaler(scale=2, weights=weights_file, device="cpu", backend=backend)
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    choice._say_what_is_missed.cache_clear()
    if native_library() is not None:
        assert not said()
    monkeypatch.setattr(native, "library_file", lambda: None)
    assert not said("reference")
    assert said() == [
        "backend native: it was not compiled, as no working C++ compiler was found during the "
        "install; without it a CPU takes two to seven times as long"
    ]
    assert not said()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n == "compile" else ()) for n in backend_names()],
)
def test_every_backend_serves_the_engine(weights_file: Path, name: str) -> None:
    """Or says in a line why not; and what it fills may be a part of something larger."""
    try:
        upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", backend=name)
    except ArgumentError as error:
        assert f"backend: {name} cannot run here: " in str(error)
        return
    assert upscaler.backend == name
    rgb = torch.rand(2, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    plain = Upscaler(scale=2, weights=weights_file, device="cpu", backend="reference").up(rgb)
    torch.testing.assert_close(upscaler.up(rgb), plain, rtol=0, atol=1e-5)
    strip = torch.full((2, 3, 18, 40), -5.0)
    upscaler._network(rgb, strip[..., 7:33])
    torch.testing.assert_close(strip[..., 7:33], plain, rtol=0, atol=1e-5)
    assert (strip[..., :7] == -5).all() and (strip[..., 33:] == -5).all()
