"""The smaller commands: their output, and their errors in one line."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file, save_file

from lkdn_cli import bench, comfyui, degrade, evaluate, export, models, train, video
from lkdn_cli.progress import Reporter
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.backends import backend_names
from lkdn_core.errors import LKDNError
from lkdn_core.models import WEIGHTS_FOLDER
from lkdn_core.training import parallel
from lkdn_core.training.folder import locked
from tests.cli.test_bad_input import command as video_command
from tests.cli.test_bad_input import environment

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
    monkeypatch.setattr(command, "run", lambda parser, *_, **__: parsers.append(parser))
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


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_name_is_not_this_folder(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["", "out"]) == 2
    assert (
        ": an argument is empty, as of a variable that is not set (see" in capsys.readouterr().err
    )


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
    weights = load((tmp_path / "run" / "weights.safetensors").read_bytes())
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


@pytest.mark.posix
def test_a_run_takes_the_data_it_names(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the first save other data are packed; later they are refused."""
    run, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    Image.open(pictures / "noise.png").crop((0, 0, 33, 31)).save(other / "a.png")
    assert train.main([*train_arguments(run, other), "--patch", "90"]) == 2
    arguments = train_arguments(run, pictures)
    (run / "data.bin.1.part").touch()  # a command was killed while it packed
    assert train.main(arguments) == 0
    assert not list(run.glob("*.part"))
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
    assert train.main(arguments) == 2  # it knows these now


def test_a_run_keeps_where_it_started(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, plain = tmp_path / "run", train_arguments(tmp_path / "run", pictures)
    first = WEIGHTS_FOLDER / "lkdn-s-x2.safetensors"
    assert train.main([*plain, "--start", str(first)]) == 0
    assert train.main(plain) == 0  # who goes on need not name it again
    other = tmp_path / "other.safetensors"
    shutil.copy(first, other)
    capsys.readouterr()
    assert train.main([*plain, "--start", str(other)]) == 2
    message = one_line(capsys.readouterr().err, "lkdn-train")
    assert message == (
        f"lkdn-train: start: this folder was trained with {str(first)!r}, got {str(other)!r}"
    )
    sources = json.loads((run / "sources.json").read_text())
    del sources["start"]  # of before it was kept
    (run / "sources.json").write_text(json.dumps(sources))
    assert train.main([*plain, "--start", str(other)]) == 0


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
        (["--steps", "0"], 2, "steps: an integer from 1 to 1000000000000 is accepted, got 0"),
        (["--save-every", "0"], 2, "save_every: an integer from 1 is accepted, got 0"),
        (["--ema", "5"], 2, "ema: a number of at least 0, below 1, is accepted, got 5.0"),
        (
            ["--patch", "90"],
            2,
            "one that fits into a picture is accepted, got 90, which takes 196 pixels",
        ),
        (["--preset", "nothing"], 2, "or a .toml file is accepted, got 'nothing'"),
        (["--preset", "lkdn-s"], 2, "steps: a recipe of one stage takes it, this one has 2"),
        (["--validate", "nowhere"], 2, "a folder of pictures is accepted, got nowhere"),
        (["--minutes", "nan"], 2, "minutes: at least 0 is accepted, got nan"),
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


@pytest.mark.parametrize("name", ["--start", "--teacher"])
def test_what_can_not_be_used_is_told_before_pictures_are_packed(
    tmp_path: Path, pictures: Path, name: str
) -> None:
    run, arguments = tmp_path / "run", train_arguments(tmp_path / "run", pictures)
    assert train.main([*arguments, name, "nothing.pth"]) == 1
    other = tmp_path / "other.safetensors"  # of another size and scale
    save_file(LKDN(LKDNConfig(4, 56, 9)).state_dict(), other)
    assert train.main([*arguments, name, str(other)]) == 2
    assert not (run / "data.json").exists()


@pytest.mark.posix
def test_a_run_does_not_go_on_with_a_pack_that_was_replaced(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, pack = tmp_path / "run", tmp_path / "pack"
    arguments = train_arguments(run, tmp_path / "pack.json")
    for name in ("1", "2"):
        Image.effect_noise((70, 66), 9).convert("RGB").save(pictures / f"{name}.png")
    made = [str(pack), "--data", str(pictures), "--versions", "0"]
    assert degrade.main(made) == train.main(arguments) == 0
    assert degrade.main([*made, "-y"]) == train.main(arguments) == 0  # the same pictures
    assert degrade.main([*made, "-y", "--exclude", "1.png"]) == 0
    capsys.readouterr()
    assert train.main(arguments) == 2
    message = one_line(capsys.readouterr().err, "lkdn-train")
    assert message.startswith(f"lkdn-train: {pack}.json: this folder was trained with 'index ")


def test_json_needs_a_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(LKDNError, match="standard output: is closed"):
        Reporter("lkdn-video", as_json=True, quiet=True)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (bench, "--size 00x10", "--size: WIDTHxHEIGHT is accepted, up to 16384 each, got '00x10'"),
        (bench, "--size 99999x9", "--size: WIDTHxHEIGHT is accepted, up to 16384 each"),
        (
            bench,
            "--threads 99999999999",
            "threads: an integer from 1 to 1024 is accepted",
        ),
        (
            bench,
            "--sweep 240 99999999999",
            "sweep: an integer from 1 to 16384 is accepted",
        ),
        (degrade, "p --data . --seed -1", "seed: an integer from 0 is accepted, got -1"),
        (degrade, "mine --data .", "PACK: mine.bin is there already; -y overwrites it"),
        (degrade, ". --data .", "PACK: a name for two files is accepted, got ."),
        (degrade, ".json --data .", "PACK: a name for two files is accepted, got .json"),
        (degrade, ".. --data .", "PACK: a name for two files is accepted, got .."),
    ],
)
def test_wrong_arguments_are_named(  # noqa: PLR0917
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tool: ModuleType,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.bin").write_text("of somebody's own")
    assert tool.main(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and message in said.err
    assert [path.name for path in Path().iterdir()] == ["mine.bin"]


def test_an_export_spares_files_of_somebodys_own(tmp_path: Path) -> None:
    target, other = tmp_path / "new" / "a.pt2", tmp_path / "new" / "a.pt2.part"
    other.parent.mkdir()
    other.write_text("a download that goes on")
    assert export.main([str(target), "--scale", "2"]) == 0
    assert sorted(target.parent.iterdir()) == [target, other]
    assert other.read_text() == "a download that goes on"


def test_a_version_that_is_no_text_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "comfyui_version.py").write_bytes(b"# \xff\xfe\n")
    assert comfyui.main(["status", "--comfyui", str(tmp_path)]) == 1
    assert "ComfyUI: version not known" in capsys.readouterr().out


def run_video(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    whole = video_command(*arguments)
    return subprocess.run(whole, env=environment(), text=True, check=False, timeout=60, **streams)


@pytest.mark.posix
def test_messages_stay_out_of_stdout_when_stderr_is_closed(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "none.mp4"), str(tmp_path / "b.mp4"), "--json"]
    ended = run_video(*arguments, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["event"] == "error"  # a single object


@pytest.mark.posix
def test_a_reader_of_json_that_goes_away_is_named(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "none.mp4"), str(tmp_path / "b.mp4"), "--json"]
    gone, stdout = os.pipe()
    os.close(gone)
    ended = run_video(*arguments, stdout=stdout, stderr=subprocess.PIPE)
    os.close(stdout)
    said = "lkdn-video: standard output: its reader has closed it\n"
    assert (ended.returncode, ended.stderr) == (1, said)
    with open("/dev/full", "w") as full:
        for options in (["--list", "models"], ["--help"], arguments):
            ended = run_video(*options, stdout=full, stderr=subprocess.PIPE)
            said = "lkdn-video: standard output: can't be written: No space left on device\n"
            assert (ended.returncode, ended.stderr) == (1, said)


def test_ctrl_c_while_modules_load(tmp_path: Path) -> None:
    script = tmp_path / "lkdn-models"
    ctrl_c = "import signal, time; signal.raise_signal(signal.SIGINT); time.sleep(9)"
    script.write_text(f"import lkdn_cli; {ctrl_c}")
    run = [sys.executable, str(script)]
    ended = subprocess.run(run, env=environment(), capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, b"")
    script.write_text(f"import lkdn_cli.models as m; m.print_table = lambda _: exec('{ctrl_c}')\n")
    with script.open("a") as file:
        file.write("import sys; sys.exit(m.main([]))")
    ended = subprocess.run(run, env=environment(), capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.splitlines()) == (130, [b"lkdn-models: interrupted"])
