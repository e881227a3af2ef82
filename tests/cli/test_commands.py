"""The smaller commands: their output, and their errors in one line."""

import argparse
import json
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lkdn_cli import evaluate, models, train, video
from lkdn_cli.progress import Reporter
from lkdn_core.backends import backend_names
from lkdn_core.errors import LKDNError
from lkdn_core.training import parallel
from lkdn_core.training.folder import locked

PROJECT: Final = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
#: The module behind every command that is installed.
COMMANDS: Final = [
    import_module(target.removesuffix(":main")) for target in PROJECT["project"]["scripts"].values()
]


def one_line(captured: str, prog: str) -> str:
    (line,) = [text for text in captured.splitlines() if text.startswith(f"{prog}: ")]
    return line


def test_models_prints_the_papers_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main([]) == 0
    rows = {tuple(line.split()[:2]): line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["lkdn-s", "x4"][2:5] == ["129177", "7.33", "G"]
    assert rows["official-lkdn", "x2"][2:5] == ["303812", "69.13", "G"]
    assert rows["official-lkdn", "x3"][2:5] == ["311387", "31.45", "G"]
    assert rows["official-lkdn", "x4"][2:5] == ["321992", "18.33", "G"]


@pytest.mark.parametrize("command", [models, evaluate, train])
def test_help_and_version_do_not_fail(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0  # type: ignore[attr-defined]
    assert "usage: lkdn-" in capsys.readouterr().out
    assert command.main(["--version"]) == 0  # type: ignore[attr-defined]


@pytest.fixture(params=COMMANDS, ids=lambda module: module.__name__)
def parser(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> argparse.ArgumentParser:
    """The parser of a command."""
    command: ModuleType = request.param
    parsers: list[argparse.ArgumentParser] = []
    monkeypatch.setattr(command, "run", lambda parser, *_: parsers.append(parser))
    command.main([])
    return parsers[0]


def test_help_says_what_every_argument_is_and_its_default(parser: argparse.ArgumentParser) -> None:
    assert "%%" not in parser.format_help()
    for action in parser._actions:
        assert action.help
        telling = isinstance(action.default, str | int | float) and action.default is not False
        if telling and action.default not in ("", argparse.SUPPRESS):
            assert "default" in action.help or f"({action.default}" in action.help, action


def test_help_names_the_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert video.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    names = ", ".join(backend_names()).replace(", reference", " or reference")
    assert f"--backend BACKEND what runs it: auto (default), {names}" in text


def test_wrong_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for command, prog in ((models, "lkdn-models"), (evaluate, "lkdn-evaluate")):
        assert command.main(["--nothing"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        assert f"(see {prog} --help)" in one_line(captured.err, prog)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    return folder


def train_arguments(run: Path, pictures: Path) -> list[str]:
    options = "--network lkdn-s-x2 --steps 2 --batch-size 1 --patch 8 --device cpu"
    return [str(run), "--data", str(pictures), *options.split()]


def test_training_starts_goes_on_and_refuses_another_recipe(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train_arguments(tmp_path / "run", pictures)
    assert train.main(arguments) == 0
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert train.main(arguments) == 0
    again = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    capsys.readouterr()
    validated = [*arguments, "--steps", "3", "--validate", str(pictures), "--plot"]
    validated[0] = str(tmp_path / "validated")
    assert train.main(validated) == 0
    assert "psnr" in (tmp_path / "validated" / "log.csv").read_text().splitlines()[0]
    assert Image.open(tmp_path / "validated" / "curve.png").size == (960, 720)
    capsys.readouterr()
    assert train.main([*arguments, "--lr", "1"]) == 2
    message = one_line(capsys.readouterr().err, "lkdn-train")
    assert message == "lkdn-train: lr: this folder was trained with 0.005, got 1.0"


def test_a_run_takes_the_data_it_names(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the first save other data are packed; later they are refused."""
    run, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    Image.open(pictures / "noise.png").crop((0, 0, 33, 31)).save(other / "a.png")
    assert train.main([*train_arguments(run, other), "--patch", "90"]) == 2
    arguments = train_arguments(run, pictures)
    assert train.main(arguments) == 0
    assert [p["shape"] for p in json.loads((run / "data.json").read_text())] == [[40, 44]]
    capsys.readouterr()
    assert train.main(train_arguments(run, other)) == 2
    message = one_line(capsys.readouterr().err, "lkdn-train")
    assert message == (
        f"lkdn-train: data: this folder was trained with {[str(pictures)]!r}, got {[str(other)]!r}"
    )
    assert train.main([*arguments, "--exclude", "x*"]) == 2
    assert "exclude: this folder was trained with '', got 'x*'" in capsys.readouterr().err
    (run / "sources.json").unlink()  # a run of before there was such a file
    assert train.main(train_arguments(run, other)) == 0


def test_only_the_main_process_reads_the_pictures_to_measure(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train.main(train_arguments(tmp_path / "run", pictures)) == 0
    monkeypatch.setattr(parallel, "main_process", lambda: False)
    arguments = train_arguments(tmp_path / "other", tmp_path / "run" / "data.json")
    assert train.main([*arguments, "--validate", "nowhere"]) == 0


def test_a_second_command_on_a_run_is_refused(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with locked(run):
        assert train.main(train_arguments(run, pictures)) == 2
    message = one_line(capsys.readouterr().err, "lkdn-train")
    assert message == f"lkdn-train: RUN: another lkdn-train is at work in {run}"
    assert train.main(train_arguments(run, pictures)) == 0


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--network", "lkdn-x9"], 2, "got 'lkdn-x9'"),
        (["--steps", "0"], 2, "steps: an integer from 1 is accepted, got 0"),
        (["--save-every", "0"], 2, "save_every: at least 1 is accepted, got 0"),
        (["--ema", "5"], 2, "ema: a number of at least 0, below 1, is accepted, got 5.0"),
        (["--patch", "90"], 2, "patch: no picture has 196 pixels a side"),
        (["--preset", "nothing"], 2, "or a .toml file is accepted, got 'nothing'"),
        (["--preset", "lkdn-s"], 2, "this recipe has 2 stages, got 2"),
        (["--validate", "nowhere"], 2, "a folder of pictures is accepted, got nowhere"),
        (["--data", "nowhere"], 2, "got nowhere"),
        (["--data", "nothing.json"], 2, "data: no such pack: nothing.json"),
        (["--start", "nothing.safetensors"], 1, "no such file: nothing.safetensors"),
    ],
)
def test_training_errors_are_one_line(  # noqa: PLR0917
    tmp_path: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    code: int,
    message: str,
) -> None:
    assert train.main([*train_arguments(tmp_path / "run", pictures), *change]) == code
    assert message in one_line(capsys.readouterr().err, "lkdn-train")


def test_json_needs_a_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(LKDNError, match="standard output: is closed"):
        Reporter(as_json=True, quiet=True)
