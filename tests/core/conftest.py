"""Shared pieces of the core's tests: tiny networks."""

from pathlib import Path

import pytest
import torch
from networks import TINY
from safetensors.torch import save_file

from lkdn_core.arch import LKDN, LKDNConfig


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
