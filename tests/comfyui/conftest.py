"""Shared pieces of the ComfyUI tests: a network small enough for everything, and a server."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lkdn_comfyui import models
from lkdn_comfyui.models import EngineOptions, LKDNModel, engine_for, model_from_file
from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDNConfig
from tests.cli.clips import Clip, make_clip
from tests.comfyui.comfyui_server import Server
from tests.comfyui.server_jobs import NTSC


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Bit-equality across batch sizes and tiles is only sure with one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained x2 network of one block and eight channels as a weights file."""
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("weights") / "tiny-x2.safetensors"
    save_file(LKDN(LKDNConfig(2, 8, 1)).state_dict(), file)
    return file


@pytest.fixture(scope="session")
def tiny(tiny_file: Path) -> LKDNModel:
    """What the loader makes of `tiny_file`."""
    return model_from_file(tiny_file)


@pytest.fixture
def upscaler(tiny: LKDNModel) -> Upscaler:
    """The engine of `tiny` on the CPU, a new one."""
    models._engine.cache_clear()
    return engine_for(tiny, EngineOptions(device="cpu", batch_size=3))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_file: Path) -> Iterator[Server]:
    """ComfyUI with the pack installed by the command, and small files to work on."""
    from lkdn_cli.comfyui import main

    if "COMFYUI_PATH" not in os.environ:
        pytest.skip("COMFYUI_PATH does not name a ComfyUI checkout")
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("custom_nodes", "input", "output", "models/upscale_models"):
        (base / name).mkdir(parents=True)
    assert main(["install", "--comfyui", str(base)]) == 0
    shutil.copy(Path(__file__).parent / "tensor_nodes.py", base / "custom_nodes")
    weights = base / "models" / "upscale_models"
    shutil.copy(tiny_file, weights / "tiny-x2.safetensors")
    (weights / "other.safetensors").write_bytes(b"not a network")
    pixels = np.random.default_rng(9).integers(0, 256, (14, 18, 3), np.uint8)
    Image.fromarray(pixels).save(base / "input" / "example.png")
    make_clip(
        base / "input" / "flower.mp4",
        Clip(pts=range(24), time_base=NTSC, audio=[{"language": "eng"}]),
    )
    (base / "input" / "broken.mp4").write_bytes(b"not a video" * 100)
    server = Server(Path(os.environ["COMFYUI_PATH"]), base)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture
def tiny_engine(tiny: LKDNModel) -> Upscaler:
    """The engine that the server's nodes make of the tiny file."""
    return engine_for(tiny, EngineOptions(device="cpu"))
