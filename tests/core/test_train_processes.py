"""``lkdn-train`` in processes of their own: several that share a run, one with little around."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]

RUN = """
import sys, torch
torch.set_num_threads(1)
from lkdn_cli.train import main
sys.exit(main(sys.argv[1:]))
"""


# One that outlives Python may abort the process, once in many runs.
NO_THREADS = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from lkdn_cli.train import main
code = main(sys.argv[1:])
names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
sys.exit(code or "gloo" in str(names) and f"threads are left: {names}")
"""


def command(
    arguments: list[str], *, code: str = RUN, torchrun: int = 0, fails: bool = False
) -> str:
    """``lkdn-train`` in a process of its own, or in several that torchrun starts; its stderr."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "cli")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-c", code]
    if torchrun:
        file = Path(arguments[0]).parent / "main.py"
        file.write_text(code)
        single = ["--standalone", f"--nproc-per-node={torchrun}", str(file)]
        start = [sys.executable, "-m", "torch.distributed.run", *single]
    result = subprocess.run(
        [*start, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert bool(result.returncode) == fails, result.stderr
    return result.stderr


@pytest.fixture
def options(tmp_path: Path, packed: Path) -> list[str]:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        "[network]\nscale = 2\nchannels = 8\nblocks = 1\n"
        "[[stages]]\nsteps = 3\nbatch_size = 4\npatch = 8\nlr = 2e-3\n"
    )
    return ["--preset", str(recipe), "--data", f"{packed}.json", "--device", "cpu"]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_joined_batch(tmp_path: Path, options: list[str]) -> None:
    command([str(tmp_path / "one"), *options])
    command([str(tmp_path / "two"), *options], code=NO_THREADS, torchrun=2)
    one, two = (load_file(tmp_path / run / "ema.safetensors") for run in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=name)
    rows = (tmp_path / "two" / "log.csv").read_text().splitlines()
    assert len(rows) == 2  # one process writes


@pytest.mark.slow
def test_a_later_batch_that_does_not_divide_is_refused_before_the_first(
    tmp_path: Path, options: list[str]
) -> None:
    recipe = Path(options[1])
    recipe.write_text(recipe.read_text() + "[[stages]]\nsteps = 1\nbatch_size = 3\npatch = 8\n")
    result = command([str(tmp_path / "run"), *options], torchrun=2, fails=True)
    assert "batch_size: a multiple of 2 processes is accepted, got 3" in result
    assert not (tmp_path / "run" / "log.csv").exists()


BARE = (
    """
import sys
for name in ("PIL", "av", "matplotlib", "platformdirs", "safetensors", "tqdm", "vapoursynth"):
    sys.modules[name] = None
"""
    + RUN
)


@pytest.mark.slow
def test_torch_and_numpy_are_enough_to_train(tmp_path: Path, options: list[str]) -> None:
    """A machine lent for its GPU has no more; the weights are written where the rest is there."""
    run = tmp_path / "run"
    command([str(run), *options], code=BARE)
    assert json.loads((run / "recipe.json").read_text())["network"]["channels"] == 8
    assert not (run / "ema.safetensors").exists()
    command([str(run), *options])
    state = torch.load(run / "state.pt", weights_only=True)
    for name, value in load_file(run / "ema.safetensors").items():
        assert torch.equal(value, state["params_ema"][name])
