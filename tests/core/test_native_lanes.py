"""The code for AVX-512 and its bfloat16 products, on a processor that may have neither.

Its vectors of 16 floats and its pairs of bfloat16 are compiled for any processor; only the few
instructions that stand in `vectors.h` and `dense.h` by name have their plain form here.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from native_checks import picture, run
from networks import TINY
from pictures import agreement
from training_checks import gradients, same

from lkdn_core import load_model, native_library
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.backends import native, reference
from lkdn_core.network import run_network
from lkdn_core.training.native import Kernels, run_native

SOURCES = Path(__file__).parents[2] / "native" / "cpu"
FILES = ("api", "gelu", "plan", "pool", "run", "kernels", "color")
FILES += ("depthwise", "rows", "training_api")
FLAGS = ("-shared", "-fPIC", "-std=c++17", "-O1", "-Wno-psabi", "-pthread")
NAMES = {"LANES": "16", "NAME": '"lanes"', "KERNELS": "kernels_portable"}
NAMES |= {"COLOR": "color", "DEPTHWISE": "depthwise_16", "ROWS": "rows_16", "PAIRS": "1"}
CONFIGS = [*TINY, LKDNConfig(2, 34, 1), LKDNConfig(3, 64, 1)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    """The backend's library is one with the set ``lanes`` alone."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    file = tmp_path_factory.mktemp("lanes") / "lkdn_native.so"
    sources = [str(SOURCES / f"{name}.cpp") for name in FILES]
    defined = [f"-DLKDN_{name}={value}" for name, value in NAMES.items()]
    command = [compiler, *FLAGS, *defined, *sources, "-o", str(file)]
    subprocess.run(command, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_library, "library_file", lambda: file)
        library = native_library.native_library.__wrapped__()
        patch.setattr(native, "native_library", lambda: library)
        typed = native._library.__wrapped__()
        patch.setattr(native, "_library", lambda: typed)
        assert library is not None
        yield library


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("case", range(len(CONFIGS) + 3))
@torch.inference_mode()
def test_lanes(case: int) -> None:
    if case < len(CONFIGS):
        torch.manual_seed(1)
        weights, config = LKDN(CONFIGS[case]).state_dict(), CONFIGS[case]
    else:
        weights, config = load_model(scale=case - len(CONFIGS) + 2)
    for size in ((1, 1), (1, 70), (53, 1), (2, 3), (17, 49), (31, 101)):
        x = picture(1, 3, *size)
        single = run(weights, config, "lanes", x)
        plain = torch.empty_like(single)
        reference.load(weights, config, torch.device("cpu"), "fp32")(x, plain)
        torch.testing.assert_close(single, plain, rtol=0, atol=1e-5)
        assert agreement(run(weights, config, "lanes", x, "bf16"), plain) > 50


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_training_lanes(lanes: ctypes.CDLL, config: LKDNConfig) -> None:
    torch.manual_seed(1)
    network, kernels = LKDN(config), Kernels(lanes, "lanes")
    for shape in ((2, 3, 17, 9), (1, 3, 1, 33)):
        x = torch.rand(shape)
        ours = gradients(network, x, lambda w, x: run_native(kernels, w, x))
        same(ours, gradients(network.double(), x.double(), run_network))
        network.float()
