"""Shared pieces of the ComfyUI tests: a network small enough for everything."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lkdn_comfyui.models import EngineOptions, LKDNModel, engine_for, model_from_file
from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDNConfig


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
    engine_for.cache_clear()
    return engine_for(tiny, EngineOptions(device="cpu", batch_size=3))
