"""Names on a command line: patterns, addresses, folders that end in a slash, pictures not read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lkdn_cli.image import main as lkdn_image
from lkdn_cli.paths import find_inputs
from lkdn_cli.video import main as lkdn_video
from lkdn_core.errors import ArgumentError, LKDNError
from tests.cli.clips import Clip, make_clip
from tests.cli.media import ImageCommand, slashed
from tests.cli.noise import noise


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.png", "[1].png", "c.bmp", "sub/d.png", ".hidden.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise(3)).save(name)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["*.png"], ["[1].png", "a.png", "b.png"]),
        (["?.*"], ["a.png", "b.png", "c.bmp"]),
        (["[ab].png", "sub"], ["a.png", "b.png", "sub"]),
        (["[1].png"], ["[1].png"]),  # which is there
        (["s*/*.png"], ["sub/d.png"]),
        (["none.png", "-"], ["none.png", "-"]),
        (["shots[1]/%05d.png"], ["shots[1]/%05d.png"]),
    ],
)
def test_patterns_are_filled_in(folder: Path, names: list[str], found: list[str]) -> None:
    assert find_inputs(names) == [Path(name) for name in found]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("*.jpg", LKDNError, r"\*\.jpg: no such file, and none that matches it"),
        ("https://host/a.png", ArgumentError, "input: files .* no addresses, got https://host/a"),
        ("file:///a.png", ArgumentError, "input: files .* no addresses, got file:///a.png"),
    ],
)
def test_names_of_nothing(folder: Path, name: str, error: type[LKDNError], message: str) -> None:
    with pytest.raises(error, match=message):
        find_inputs(["a.png", name])


def test_a_pattern_of_pictures(
    folder: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lkdn_image("*.png", "c.*", "out") == 0
    names = {path.name for path in Path("out").iterdir()}
    assert names == {"[1].png", "a.png", "b.png", "c.bmp"}
    capsys.readouterr()
    for name, code in (("*.jpg", 1), ("https://host/a.png", 2)):
        assert lkdn_image(name, "other/") == code
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("other").exists()


def test_a_pattern_of_videos(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mkv", Clip(size=(16, 12), pts=(0,)))
    options = ["--weights", str(nearest[2]), "--device", "cpu"]
    assert lkdn_video(["*.mkv", "b.mp4", *options]) == 0
    assert "b.mp4: 1 frame of 32x24" in capsys.readouterr().err
    assert lkdn_video(["*.mkv", "-o", "out", *options]) == 0
    assert Path("out/a.mkv").exists()
    assert "1 file: 1 done" in capsys.readouterr().err
    assert lkdn_video(["*.avi", "-o", "out", *options]) == 1
    assert capsys.readouterr().err == "lkdn-video: *.avi: no such file, and none that matches it\n"


def test_a_slash_makes_a_folder(
    folder: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lkdn_image("a.png", "new/") == 0
    assert lkdn_image("a.png", "new/deep.png/", "--format", "webp") == 0
    assert Path("new/a.png").is_file()
    assert Path("new/deep.png/a.webp").is_file()
    capsys.readouterr()
    assert lkdn_image("a.png", "c.bmp/") == 2
    said = capsys.readouterr().err
    assert "output: a folder is needed where a name ends in a slash, c.bmp is a file" in said


def test_a_missing_input_is_named_before_the_output_is_judged(
    folder: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("none.png", "a.png/b.png"):
        assert lkdn_image(name, "out.xyz") == 1
        said = slashed(capsys.readouterr().err)
        assert said == f"lkdn-image: {name}: no such file\n"
    assert lkdn_image("a.png", "out.xyz") == 2


def test_pictures_that_are_not_read_are_told(
    folder: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("e.tga", "f.JP2", "g.jp2", "notes.txt", ".h.tga"):
        Path("sub", name).write_bytes(b"no matter what")
    assert lkdn_image("sub", "sub", "out", "-q") == 0
    assert capsys.readouterr().err == (
        "lkdn-image: warning: 3 pictures left alone, not read: .jp2, .tga\n"
    )
    assert {path.name for path in Path("out").iterdir()} == {"d.png"}
    # One that is named is tried.
    Image.fromarray(np.uint8(noise(3))).save("sub/e.tga", "PNG")
    assert lkdn_image("sub/e.tga", "e.png", "-q") == 0
    assert capsys.readouterr().err == ""


def test_names_behind_two_dashes_are_no_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").rename(folder / "-y")
    options = ["--scale", "2", "--device", "cpu", "-q"]
    assert lkdn_image([*options, "--", "-y", "-b.png"]) == 0
    assert Path("-b.png").is_file()
    assert lkdn_image([*options, "--", "b.png", "c.png", "-y"]) == 2
    assert "several pictures, -y is a file" in capsys.readouterr().err
    assert lkdn_video([*options, "--", "-f.mkv", "out.mkv"]) == 1
    assert "-f.mkv" in capsys.readouterr().err
