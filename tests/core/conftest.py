"""Shared pieces of the core's tests: tiny networks, pictures to train on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TINY
from PIL import Image
from safetensors.torch import save_file

from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.training.pack import pack


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Bit-equality across batch sizes and tiles is only sure with one thread."""
    torch.set_num_threads(1)


@pytest.fixture(params=TINY, ids=lambda c: f"x{c.scale}-{c.refinement}")
def network(request: pytest.FixtureRequest) -> LKDN:
    """A small untrained network in training form, in float32."""
    torch.manual_seed(1)
    return LKDN(request.param).eval()


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """A x2 network of one block and eight channels as a weights file."""
    torch.manual_seed(2)
    file = tmp_path / "tiny.safetensors"
    save_file(LKDN(LKDNConfig(2, 8, 1)).state_dict(), file)
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i, size in enumerate([(48, 60), (50, 45), (20, 20)]):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{'AE'[i == 1]}_{i}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def packed(tmp_path: Path, pictures: Path) -> Path:
    pack([pictures], tmp_path / "data")
    return tmp_path / "data"
