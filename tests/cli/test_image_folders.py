"""``lkdn-image``: folders, batches, and what it refuses."""

import errno
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lkdn_core import Upscaler
from lkdn_media.images import read_still
from tests.cli.media import ImageCommand, slashed
from tests.cli.noise import noise, twice
from tests.cli.test_bad_input import environment


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b/a.jpg", "in/b/c.webp", "in/b/deep/d.BMP", "in/e.gif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(3)).save(path)
    (tmp_path / "in/notes.txt").write_text("no picture")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_keeps_its_tree(
    tree: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lkdn_image("in", "out") == 0
    assert files(tree / "out") == {"a.png", "b/a.jpg", "b/c.webp", "b/deep/d.BMP", "e.png"}
    assert "lkdn-image: out: 5 enlarged" in capsys.readouterr().err
    before = {name: (tree / "out" / name).stat().st_mtime_ns for name in files(tree / "out")}
    (tree / "out/a.png").unlink()
    assert lkdn_image("in", "out") == 0
    assert "1 enlarged, 4 there already" in capsys.readouterr().err
    kept = {n: (tree / "out" / n).stat().st_mtime_ns for n in before if n != "a.png"}
    assert kept.items() <= before.items()
    assert lkdn_image("in", "out", "-y") == 0
    assert "5 enlarged" in capsys.readouterr().err


def test_recursion_and_format(tree: Path, lkdn_image: ImageCommand) -> None:
    assert lkdn_image("in/", "out", "--no-recursion", "--format", "webp") == 0
    assert files(tree / "out") == {"a.webp", "e.webp"}
    assert lkdn_image("in/a.png", "in/e.gif", "two") == 0
    assert files(tree / "two") == {"a.png", "e.png"}


@pytest.mark.posix
def test_names_never_meet(tree: Path, lkdn_image: ImageCommand) -> None:
    Image.fromarray(noise(1)[..., 0]).save(tree / "in/A.bmp")
    Image.fromarray(noise(1)[..., 0]).save(tree / "in/e.png")
    assert lkdn_image("in", "out", "--format", "png", "--no-recursion") == 0
    # a.png would be taken for A.png where names have no case.
    assert files(tree / "out") == {"a.png", "A.bmp.png", "e.png", "e.gif.png"}
    assert lkdn_image("in/a.png", "in/a.png", "same") == 0
    assert files(tree / "same") == {"a.png"}
    for name in ("two/I.JPG", "two/i.jpg"):
        (tree / "two").mkdir(exist_ok=True)
        Image.fromarray(noise(1)[..., 0]).save(tree / name)
    assert lkdn_image("two", "large") == 0
    assert files(tree / "large") == {"I.JPG", "i.jpg"}


def test_the_output_folder_may_lie_inside(tree: Path, lkdn_image: ImageCommand) -> None:
    assert lkdn_image("in", "in/out") == 0
    assert lkdn_image("in", "in/out", "-y") == 0
    assert files(tree / "in/out") == {"a.png", "b/a.jpg", "b/c.webp", "b/deep/d.BMP", "e.png"}


def test_no_input_is_overwritten_by_another_ones_result(
    tree: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "other/b").mkdir(parents=True)
    Image.fromarray(noise(1)[..., 0]).save(tree / "other/b/a.jpg")
    before = (tree / "in/b/a.jpg").read_bytes()
    assert lkdn_image("in/b", "other", "in", "-y") == 2
    said = slashed(capsys.readouterr().err)
    assert "in/b/a.jpg, made from other/b/a.jpg, would overwrite the input in/b/a.jpg" in said
    assert (tree / "in/b/a.jpg").read_bytes() == before


def test_hidden_files_are_left_alone(tree: Path, lkdn_image: ImageCommand) -> None:
    (tree / "in/._a.png").write_bytes(b"\0\5\x16\7 what a Mac writes beside a.png")
    (tree / "in/.cache").mkdir()
    (tree / "in/a.png").rename(tree / "in/.cache/a.png")
    assert lkdn_image("in", "out") == 0
    assert files(tree / "out") == {"b/a.jpg", "b/c.webp", "b/deep/d.BMP", "e.png"}


@pytest.mark.posix
def test_links_do_no_harm(
    tree: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "in/loop").symlink_to(tree / "in")
    (tree / "in/broken.png").symlink_to(tree / "nowhere.png")
    assert lkdn_image("in", "out") == 0
    assert len(files(tree / "out")) == 5
    (tree / "elsewhere").mkdir()
    (tree / "trap").mkdir()
    (tree / "trap/b").symlink_to(tree / "elsewhere")
    assert lkdn_image("in", "trap") == 2
    assert "is a link that leads out of trap" in capsys.readouterr().err
    assert not files(tree / "elsewhere")


def test_programs_are_told(
    tree: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str, code: int) -> list[dict[str, Any]]:
        assert lkdn_image(*arguments, "--json", "-q") == code
        return [json.loads(line) for line in slashed(capsys.readouterr().out).splitlines()]

    (tree / "in/cut.png").write_bytes((tree / "in/a.png").read_bytes()[:99])
    (tree / "in/other.psd").touch()
    events = told("in", "out", code=1)
    assert events[0] == {
        "event": "warning",
        "message": "1 picture left alone, not read: .psd",
    }
    done = {(e["input"], e["output"]) for e in events if e["event"] == "done"}
    assert len(done) == 5 and ("in/b/a.jpg", "out/b/a.jpg") in done
    (error,) = [e for e in events if e["event"] == "error"]
    assert (error["input"], error["output"], error["code"]) == ("in/cut.png", "out/cut.png", 1)
    assert error["message"].startswith("in/cut.png: is damaged")
    assert events[-1] == {"event": "summary", "done": 5, "skipped": 0, "failed": 1}
    assert told("in/b", "out/b", code=0) == [
        {"event": "summary", "done": 0, "skipped": 3, "failed": 0}
    ]
    for wrong in (("--scale", "9"), ("--quality", "0"), ("--backend", "other")):
        (refused,) = told("in", "out", *wrong, code=2)
        assert refused["event"] == "error" and refused["code"] == 2
    (missing,) = told("none.png", "out.png", code=1)
    assert missing["event"] == "error" and missing["message"].startswith("none.png: ")


def test_failures_do_not_stop_the_rest(
    tree: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (tree / "in/a.png").read_bytes()
    (tree / "in/cut.png").write_bytes(good[: len(good) // 2])
    (tree / "in/empty.jpg").touch()
    (tree / "in/text.webp").write_text("no picture at all")
    first = Image.fromarray(noise(3))
    first.save(
        tree / "in/moving.gif", save_all=True, append_images=[Image.fromarray(noise(1)[..., 0])]
    )
    assert lkdn_image("in", "out") == 1
    said = slashed(capsys.readouterr().err)
    assert "in/cut.png: is damaged" in said
    assert "in/empty.jpg: is not a PNG" in said
    assert "in/text.webp: is not a PNG" in said
    assert "in/moving.gif: is an animation of 2 pictures; lkdn-video" in said
    assert "lkdn-image: out: 5 enlarged, 4 failed" in said
    assert len(files(tree / "out")) == 5
    assert len(said.splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("in/a.png in/a.png -y", 2, "output: in/a.png would overwrite the input in/a.png"),
        ("in/a.png in/b/a.jpg", 2, "output: in/b/a.jpg is there already; -y overwrites it"),
        ("in in", 2, "output: in is the input folder"),
        ("in in/a.png", 2, "output: a folder is needed for several pictures"),
        (
            "in/a.png in/e.gif new.png",
            2,
            "output: new.png is a name of a file; a",
        ),
        ("in/a.png in/e.gif new.png/", 0, "new.png: 2 enlarged"),
        ("in/a.png out.gif", 2, "output: a name ending in .png, .jpg"),
        ("in/a.png out", 2, "output: a name ending in .png, .jpg"),
        ("in/a.png in", 2, "made from in/a.png, would overwrite the input in/a.png"),
        ("in/a.png out.png --format jpg", 2, "format: is for folders"),
        ("film.mkv out.png", 2, "input: film.mkv has the name of a video; lkdn-video enlarges it"),
        (
            "in/a.png out.png --qualty 9",
            2,
            "arguments: --qualty 9; near it: --quality",
        ),
        ("in/a.png out.png --quality 0", 2, "quality: an integer from 1 to 100 is accepted, got 0"),
        ("in/a.png out.png --backend warp", 2, "backend: auto, native, "),
        ("in/a.png out.png --backend reference", 0, "1 enlarged"),
        ("in/a.png out.png --max-megapixels nan", 2, "max_megapixels: above 0 is accepted, got"),
        ("in/a.png out.png --max-megapixels inf", 0, "1 enlarged"),
        ("in/a.png out.png --max-megapixels 0.0001", 1, "13x11 are more than 0.0001 million"),
        ("in/a.png", 2, "the following arguments are required: OUT"),
        ("none.png out.png", 1, "none.png: no such file"),
        ("in/notes.txt out.png", 1, "in/notes.txt: is not a PNG"),
        ("in/a.png in/notes.txt/x.png", 1, "notes.txt/x.png: can't be written: in/notes.txt is in"),
        ("empty out", 1, "no pictures (.png"),
        *(
            pytest.param(*case, marks=pytest.mark.posix)
            for case in (
                ("in/a.png in/notes.txt/b/x.png", 1, "b/x.png: can't be written: Not a directory"),
                (
                    "in/a.png in/a.png loop -q",
                    1,
                    "loop/a.png: can't be written: loop is in the way",
                ),
                (
                    "in/a.png out.png --compare loop/p.html",
                    1,
                    "compare: loop/p.html can't be written: ",
                ),
                (f"in/a.png {'n' * 300}.png", 1, "n.png: can't be written: File name too long"),
            )
        ),
    ],
)
def test_one_line_and_the_code(
    *,
    tree: Path,
    lkdn_image: ImageCommand,
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    (tree / "empty").mkdir()
    if sys.platform != "win32":
        (tree / "loop").symlink_to("loop")
    before = files(tree)
    assert lkdn_image(*arguments.split()) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert message in slashed(err)
    if code:
        (line,) = err.splitlines()
        assert line.startswith("lkdn-image: ")
        assert files(tree) == before


def test_inputs_may_have_names_of_files_in_the_making(tree: Path, lkdn_image: ImageCommand) -> None:
    before = (tree / "in/a.png").read_bytes()
    for name in ("b.png.part", "page.html.part"):
        (tree / name).write_bytes(before)
    assert lkdn_image("b.png.part", "b.png", "--compare", "page.html") == 0
    for name in ("b.png.part", "page.html.part"):
        assert (tree / name).read_bytes() == before
    assert read_still(tree / "b.png").pixels.shape == (22, 26, 3)


def test_folders_that_may_not_be_read_are_failures(
    tree: Path,
    nearest: dict[int, Path],
    lkdn_image: ImageCommand,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scandir = os.scandir

    def closed(path: str) -> Any:
        if os.path.basename(path) == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert lkdn_image("in", "out") == 1
    assert slashed(capsys.readouterr().err).splitlines()[-2:] == [
        "lkdn-image: in/b: can't be read: Permission denied",
        f"lkdn-image: out: 2 enlarged, 1 failed; by {nearest[2].name}",
    ]
    assert files(tree / "out") == {"a.png", "e.png"}
    assert lkdn_image("in/b", "other") == 1
    assert "lkdn-image: other: 1 failed" in capsys.readouterr().err


@pytest.mark.posix
@pytest.mark.parametrize("name", ["a\nb\x1b[2J.png", "a\udcffb.png"], ids=["control", "not UTF-8"])
def test_any_name_is_told_in_one_line(tree: Path, lkdn_image: ImageCommand, name: str) -> None:
    # In a process of its own: pytest keeps what is logged, and can't hand on what is not UTF-8.
    code = "import sys; from lkdn_cli.image import main; sys.exit(main(sys.argv[1:]))"
    run = [sys.executable, "-c", code, name, "out.png"]
    said = subprocess.run(run, env=environment(), capture_output=True, check=False, timeout=60)
    assert said.returncode == 1
    (line,) = said.stderr.decode().splitlines()
    assert line.endswith(": no such file") and line.isprintable()
    (tree / "in/a.png").rename(tree / name)
    assert lkdn_image(name, "out.jpg", "--compare", "page.html") == 0
    assert len((tree / "page.html").read_text("utf-8")) > 1000


def test_a_bomb_is_not_unpacked(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    """A PNG of 60000x60000 in a few bytes: refused by its head."""
    head = struct.pack(">4sIIBBBBB", b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    bomb = b"\x89PNG\r\n\x1a\n"
    for chunk in (head, data, b"IEND"):
        bomb += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert lkdn_image(tmp_path / "bomb.png", tmp_path / "out.png") == 1
    assert not (tmp_path / "out.png").exists()


def test_sides_that_a_format_cannot_have(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (8200, 1)).save(tmp_path / "long.png")
    assert lkdn_image(tmp_path / "long.png", tmp_path / "long.webp") == 1
    assert "would be 16400 pixels long, WebP ends at 16383" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half(tmp_path: Path, nearest: dict[int, Path]) -> None:
    for i in range(40):
        Image.fromarray(noise(3, size=(150, 150))).save(tmp_path / f"in{i}.png")
    (tmp_path / "in").mkdir()
    for path in tmp_path.glob("in*.png"):
        path.rename(tmp_path / "in" / path.name)
    code = "import sys; from lkdn_cli.image import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["in", "out", "--scale", "2", "--weights", str(nearest[2]), "-q"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not list(tmp_path.glob("out/*.png")):
        time.sleep(0.02)
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"lkdn-image: interrupted\n")
    done = list((tmp_path / "out").iterdir())
    assert 0 < len(done) < 40
    for path in done:
        assert read_still(path).pixels.shape == (300, 300, 3)


def test_batches_of_one_size(nearest: dict[int, Path], tmp_path: Path) -> None:
    """As on a GPU: neighbours of one size share a run, and each gets its own result."""
    runs: list[int] = []

    class Counting(Upscaler):
        def up_planes(self, planes: Any, *args: Any, **options: Any) -> Any:
            runs.append(len(planes[0]))
            return super().up_planes(planes, *args, **options)

    from lkdn_media.image_writers import Quality
    from lkdn_media.network_choice import NetworkChoice
    from lkdn_media.picture_batch import enlarge_files
    from lkdn_media.picture_jobs import plan_jobs
    from lkdn_media.sizes import SizeChoice

    (tmp_path / "in").mkdir()
    sizes = [(8, 9)] * 3 + [(7, 9)] + [(8, 9)] * 2
    for i, size in enumerate(sizes):
        Image.fromarray(noise(3, size=size) ^ np.uint8(i)).save(tmp_path / f"in/{i}.png")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out").jobs
    upscaler = Counting(scale=2, weights=nearest[2], device="cpu", batch_size=2)
    outcomes = list(
        enlarge_files(
            jobs,
            lambda *_: upscaler,
            network_of=lambda _: NetworkChoice("nearest"),
            scales=(2,),
            size=SizeChoice(),
            quality=Quality(),
        )
    )
    assert runs == [2, 1, 1, 2]
    assert [o.job.source.name for o in outcomes] == [f"{i}.png" for i in range(6)]
    for i, size in enumerate(sizes):
        new = np.asarray(Image.open(tmp_path / f"out/{i}.png"))
        assert np.array_equal(new, twice(noise(3, size=size) ^ np.uint8(i)))


@pytest.mark.posix
def test_the_picture_a_link_stands_for_is_written(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    here, real = tmp_path / "a.png", tmp_path / "real.png"
    Image.fromarray(noise(3)).save(here)
    for name, stands_for in (("link.png", "real.png"), ("loop.png", "loop.png")):
        (tmp_path / name).symlink_to(stands_for)
    assert lkdn_image(here, tmp_path / "link.png") == 0  # it leads nowhere yet
    made = real.read_bytes()
    real.write_bytes(b"old")
    assert lkdn_image(here, tmp_path / "link.png") == 2
    assert lkdn_image(here, tmp_path / "link.png", "-y") == 0
    assert (tmp_path / "link.png").is_symlink() and real.read_bytes() == made
    capsys.readouterr()
    assert lkdn_image(here, tmp_path / "loop.png", "-y") == 1
    assert "loop.png: can't be written: Too many levels of symbolic" in capsys.readouterr().err
