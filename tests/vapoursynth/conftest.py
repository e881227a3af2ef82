"""What the filter's tests share: the core with the filter in it, a tiny network, a vspipe."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import vapoursynth as vs
from safetensors.torch import save_file

from lkdn_core.arch import LKDN, LKDNConfig

COMPILERS = ("c++", "g++", "clang++", "cl")


@pytest.fixture(scope="session", autouse=True)
def core() -> vs.Core:
    """VapourSynth's core. Without a compiler there is no filter; else there has to be one."""
    torch.set_num_threads(1)
    if not hasattr(vs.core, "lkdn"):
        if not any(map(shutil.which, COMPILERS)):
            pytest.skip("core.lkdn is not installed: there is no C++ compiler here")
        pytest.fail("core.lkdn is not installed, though there is a compiler: pip install -e .")
    return vs.core.core


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A x2 network of one block and eight channels, so small that everything else shows."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(LKDN(LKDNConfig(2, 8, 1)).state_dict(), file)
    return str(file)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For other processes: one thread, VapourSynth's settings in a folder of their own."""
    config = tmp_path_factory.mktemp("config")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": str(config)}
    command = [sys.executable, "-m", "vapoursynth", "config"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    return environment


Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(environment: dict[str, str], weights: str, tmp_path: Path) -> Run:
    """``run(command, ..., timeout=60)`` in an empty folder; a hang fails."""

    def run(*command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [str(part) for part in command],
            env=environment
            | {"LKDN_TEST_WEIGHTS": weights, "PYTHONPATH": os.pathsep.join(folders)},
            cwd=tmp_path,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def vspipe() -> Path:
    return Path(vs.__file__).with_name("vspipe")
