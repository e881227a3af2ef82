"""Many files in one run: names, skips, failures, the summary; and progress for programs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lkdn_cli.batch import pair_files
from lkdn_cli.video import main
from lkdn_core.errors import ArgumentError
from tests.cli.clips import Clip, make_clip
from tests.cli.media import slashed, times
from tests.cli.test_bad_input import environment
from tests.cli.test_segments import damaged


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three clips in a tree, something broken, and things that are no videos."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "films"
    (folder / "old" / ".trash").mkdir(parents=True)
    make_clip(folder / "a.mp4")
    make_clip(folder / "old" / "b.MKV")
    make_clip(folder / "old" / "c.avi", Clip(codec="mpeg4", options={}))
    make_clip(folder / "old" / ".trash" / "gone.mkv")
    (folder / "broken.mp4").write_text("not a film")
    (folder / "notes.txt").write_text("not a film either")
    return folder


def enlarge(nearest: dict[int, Path], *arguments: str) -> int:
    return main([*arguments, "--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"])


def test_one_bad_file_does_not_stop_the_rest(
    films: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert enlarge(nearest, "films", "-o", "films/large", "-q") == 1
    names = ["a.mp4", "old", "old/b.MKV", "old/c.mkv"]
    large = films / "large"
    assert sorted(p.relative_to(large).as_posix() for p in large.rglob("*")) == names
    assert len(times(large / "old" / "c.mkv")) == 7
    said = capsys.readouterr()
    assert said.out == ""
    assert slashed(said.err).startswith("lkdn-video: films/broken.mp4: is not a media file")
    (large / "a.mp4").unlink()
    (films / "broken.mp4").unlink()
    before = (large / "old" / "c.mkv").stat().st_mtime_ns
    assert enlarge(nearest, "films", "-o", "films/large") == 0
    lines = slashed(capsys.readouterr().err).splitlines()
    assert lines[-1] == "lkdn-video: 3 files: 1 done, 0 salvaged, 0 failed, 2 skipped"
    assert "lkdn-video: films/large/old/c.mkv: is there already; -y overwrites it" in lines
    assert (large / "old" / "c.mkv").stat().st_mtime_ns == before
    assert (large / "a.mp4").exists()


def test_a_batch_tells_programs(
    films: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    salvaged = damaged(films / "damaged.avi")
    arguments = ["films/a.mp4", "films/broken.mp4", str(salvaged), "-o", "out", "--json", "-q"]
    assert enlarge(nearest, *arguments) == 1
    told = [json.loads(line) for line in slashed(capsys.readouterr().out).splitlines()]
    events = [event for event in told if event["event"] != "progress"]
    kinds = ["start", "done", "error", "start", "done", "warning", "summary"]
    assert [event["event"] for event in events] == kinds
    start, done, error, _, _, warning, summary = events
    names = {"input": "films/a.mp4", "output": "out/a.mp4"}
    start_of = {
        "frames": 7,
        "width": 68,
        "height": 52,
        "resumed": 0,
        "model": slashed(str(nearest[2])),
    }
    assert start == names | start_of | {"event": "start"}
    assert done.pop("seconds") > 0 and done.pop("fps") > 0
    assert done == names | {"event": "done", "frames": 7, "damage": None}
    assert error["input"] == "films/broken.mp4" and error["code"] == 1
    assert "is not a media file" in error["message"]
    assert "1 packet could not be decoded" in warning["message"]
    counts = {"done": 1, "salvaged": 1, "failed": 1, "skipped": 0}
    assert summary == counts | {"event": "summary"}
    progress = [event for event in told if event["event"] == "progress"]
    assert progress[0]["frame"] == progress[0]["frames"] == 7
    assert progress[0]["fps"] > 0 and progress[0]["eta"] == 0
    assert enlarge(nearest, str(salvaged), "-o", "other", "-q") == 3


def test_one_error_tells_programs(
    films: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert enlarge(nearest, "films/a.mp4", "films/a.mp4", "--json") == 2
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert told["event"] == "error" and told["code"] == 2
    assert said.err == f"lkdn-video: {told['message']}\n"


def test_a_dry_run_writes_nothing(
    films: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (films / "broken.mp4").unlink()
    assert enlarge(nearest, "films", "-o", "out", "--dry-run", "--json") == 0
    told = [json.loads(line) for line in slashed(capsys.readouterr().out).splitlines()]
    plans = {event["output"]: event["streams"] for event in told if event["event"] == "plan"}
    assert list(plans) == ["out/a.mp4", "out/old/b.MKV", "out/old/c.mkv"]
    assert plans["out/a.mp4"][0].startswith("#0 video h264 34x26 yuv420p -> libx264 68x52")
    assert not Path("out").exists()
    assert main(["films/a.mp4", "b.mp4", "--dry-run", "--model", "other"]) == 2
    assert "model: one of lkdn-s" in capsys.readouterr().err


@pytest.mark.parametrize("options", ["--scale seven", "--foo", "--codec", "--frames 1e9"])
def test_wrong_arguments_tell_programs(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.mp4", "b.mp4", *options.split(), "--json"]) == 2
    said = capsys.readouterr()
    told: dict[str, Any] = json.loads(said.out)
    assert told == {"event": "error", "code": 2, "message": told["message"]}
    assert said.err == f"lkdn-video: {told['message']}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--frames {}", "--frames: a positive number is accepted, up to 1000000000"),
        ("--segment {}", "--segment: a number of frames is accepted, up to 1000000000"),
        ("--start {}", "--start: seconds or hh:mm:ss.mmm are accepted, below 1000000000"),
        ("--end 999999999:00:00", "--end: seconds or hh:mm:ss.mmm are accepted, below 1000000000"),
        ("--bitrate {0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}G", "--bitrate: bits a second"),
        ("--fps {}", "--fps: a number from 1/1000000 to 1000000 is accepted"),
        ("--fps 1/{}", "--fps: a number from 1/1000000 to 1000000 is accepted"),
        ("--raw {0}x{0}", "--raw: a size up to 16000x16000 is accepted"),
        ("--raw 8x8 --raw-pix-fmt nonsense", "--raw-pix-fmt: a pixel format of FFmpeg"),
        ("--raw 8x8 --raw-pix-fmt vaapi", "--raw-pix-fmt: a pixel format of FFmpeg"),
        ("--raw 8x8 --raw-pix-fmt bayer_rggb8", "--raw-pix-fmt: a pixel format of FFmpeg"),
        ("--raw-pix-fmt gray", "raw_pix_fmt: is for --raw"),
    ],
)
def test_values_out_of_bounds_are_wrong_arguments(
    films: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    assert main(["films/a.mp4", "b.mp4", *options.format("9" * 20).split()]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.posix
@pytest.mark.parametrize(
    ("source", "target", "argument"),
    [("n" * 300, "b.mp4", "input"), ("films/a.mp4", "n" * 300 + ".mp4", "output")],
)
def test_the_argument_with_a_name_too_long_is_named(
    films: Path, capsys: pytest.CaptureFixture[str], source: str, target: str, argument: str
) -> None:
    assert main([source, target]) == 1
    name = source if argument == "input" else target
    assert capsys.readouterr().err == f"lkdn-video: {argument}: {name}: File name too long\n"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--tile -4", 2, "tile: "),
        ("--overlap -1", 2, "overlap: "),
        ("--batch-size -1", 2, "batch_size: "),
        ("--backend nope", 2, "backend: "),
        ("--precision fp8", 2, "precision: "),
        ("--device abacus", 2, "device: "),
        ("--scale 3", 2, "scale: "),
        ("--weights none.pth", 1, "no such file: none.pth"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    *,
    films: Path,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
    options: str,
    code: int,
    message: str,
) -> None:
    wrong = ["--scale", "2", "--weights", str(nearest[2]), *options.split()]
    for more in ([], ["--dry-run"]):
        assert main(["films/a.mp4", "b.mp4", *wrong, *more]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("lkdn-video: ") and said.err.count("\n") == 1
        assert message in said.err


def test_what_is_said_of_one_file_names_it(
    films: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(films / "d.mkv", Clip(captions=True))
    options = ("-o", "out", "--dry-run", "--codec", "mpeg4")
    assert enlarge(nearest, "films/a.mp4", "films/d.mkv", *options) == 0
    said = capsys.readouterr()
    assert slashed(said.out).splitlines()[::3] == [
        "films/a.mp4 -> out/a.mp4",
        "films/d.mkv -> out/d.mkv",
    ]
    line = "lkdn-video: warning: films/d.mkv: closed captions inside the pictures are lost"
    assert slashed(said.err).startswith(line)


def test_what_can_not_be_read_or_written_does_not_stop_the_rest(
    films: Path,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scandir = os.scandir

    def closed(path: str) -> Any:
        if os.path.basename(path) == "old":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    (films / "broken.mp4").unlink()
    (films / "sub").mkdir()
    make_clip(films / "sub" / "d.mp4")
    Path("out").mkdir()
    Path("out/sub").touch()
    assert enlarge(nearest, "films", "-o", "out", "--json", "-q") == 1
    said = capsys.readouterr()
    assert slashed(said.err).splitlines() == [
        "lkdn-video: films/old: can't be read: Permission denied",
        "lkdn-video: out/sub/d.mp4: can't be written: out/sub is in the way",
    ]
    told = [json.loads(line) for line in said.out.splitlines()]
    errors = [event for event in told if event["event"] == "error"]
    assert [f"lkdn-video: {event['message']}" for event in errors] == said.err.splitlines()
    assert told[-1] == {"event": "summary", "done": 1, "salvaged": 0, "failed": 2, "skipped": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("films/a.mp4 films/old -o films/a.mp4", "output: films/a.mp4 is not a folder"),
        ("films/a.mp4 other/a.mp4 -o out", "output: films/a.mp4 and other/a.mp4 would both become"),
        (
            "films -o films",
            "output: films/a.mp4, made from films/a.mp4, would overwrite the input films/a.mp4",
        ),
        ("films/old/.trash/none -o out", None),
        ("empty -o out", "input: no video in empty"),
        ("films/a.mp4 films/old out.mkv", "output: 2 inputs need -o FOLDER"),
        pytest.param("films -o loop", "output: loop is not a folder", marks=pytest.mark.posix),
        ("films/a.mp4 -o out --compare page.html", "compare: one page shows one video"),
    ],
)
def test_what_can_not_work_is_refused_before_the_work(
    films: Path,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str | None,
) -> None:
    Path("empty").mkdir()
    if sys.platform != "win32":
        Path("loop").symlink_to("loop")
    before = sorted(Path().rglob("*"))
    assert enlarge(nearest, *arguments.split()) == (2 if message else 1)
    said = slashed(capsys.readouterr().err)
    if message:
        assert said.startswith(f"lkdn-video: {message}")
        assert said.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.posix
def test_a_file_counts_once_and_folders_are_walked_in_order(
    films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (films / "broken.mkv").symlink_to("nowhere.mkv")
    pairs, unreadable = pair_files([films, films / "a.mp4"], Path("out"))
    assert unreadable == []
    assert [str(target) for _, target in pairs] == [
        *("out/a.mp4", "out/broken.mp4", "out/old/b.MKV", "out/old/c.mkv"),
    ]
    make_clip(films / "old" / "c.mkv")
    assert [str(target) for _, target in pair_files([films], Path("out"))[0][-2:]] == [
        *("out/old/c.avi.mkv", "out/old/c.mkv"),
    ]
    make_clip(films / "old" / "A.mp4")
    named = [films / "a.mp4", films / "old" / "A.mp4"]
    assert [str(target) for _, target in pair_files(named, Path("out"))[0]] == [
        *("out/a.mp4", "out/A.mp4"),
    ]
    there = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: ".LKDN-A-" in str(path) or there(path))
    with pytest.raises(ArgumentError, match=r"both become out/A\.mp4"):  # on a disk that folds
        pair_files(named, Path("out"))


def test_a_batch_ends_where_nobody_reads_its_events(
    films: Path, nearest: dict[int, Path], tmp_path: Path
) -> None:
    words = [films, "-o", tmp_path / "out", "--scale", "2", "--weights", nearest[2], "--json", "-q"]
    script = "import sys; from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    run = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert run.stdout and run.stderr
    run.stdout.close()
    said = run.stderr.read()
    assert run.wait(60) == 1
    assert said.splitlines() == [b"lkdn-video: standard output: its reader has closed it"]
    assert not list((tmp_path / "out").rglob("*.mkv"))


def test_the_engine_is_made_once(
    films: Path, nearest: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lkdn_cli import enlarger

    made: list[int] = []
    make = enlarger.make_upscaler

    def count(arguments: Any, network: Any, scale: int) -> Any:
        made.append(scale)
        return make(arguments, network, scale)

    monkeypatch.setattr(enlarger, "make_upscaler", count)
    (films / "broken.mp4").unlink()
    assert enlarge(nearest, "films", "-o", "out", "-q") == 0
    assert made == [2]
