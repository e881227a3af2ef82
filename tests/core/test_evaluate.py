import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from official import eval_folder, official_file
from PIL import Image

from lkdn_cli.evaluate import PAPER, main
from lkdn_core.evaluate import psnr
from lkdn_core.models import list_models
from lkdn_core.quantize import quantize
from lkdn_core.resize import resize

#: PSNR and SSIM of the authors' checkpoints, measured once with their own code's protocol.
TRUTH = {
    ("LKDN_x2.pth", "Set5"): (38.115, 0.9610),
    ("LKDN_x2.pth", "Set14"): (33.855, 0.9202),
    ("LKDN_x3.pth", "Set5"): (34.532, 0.9283),
    ("LKDN_x3.pth", "Set14"): (30.509, 0.8456),
    ("LKDN_x4.pth", "Set5"): (32.395, 0.8980),
    ("LKDN_x4.pth", "Set14"): (28.799, 0.7860),
    ("LKDN-S_x4.pth", "Set5"): (32.106, 0.8938),
    ("LKDN-S_x4.pth", "Set14"): (28.623, 0.7821),
    ("LKDN-S_del_rep_x4.pth", "Set5"): (32.106, 0.8938),
}


@pytest.mark.slow
@pytest.mark.parametrize(("file", "dataset"), TRUTH, ids=str)
def test_official_weights_reach_their_figures(
    file: str, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = int(file.removesuffix(".pth")[-1])
    folder = eval_folder(dataset) / f"x{scale}"
    weights = official_file(file)
    arguments = [str(folder), "--scale", str(scale), "--weights", str(weights), "--json"]
    assert main([*arguments, "--model", "lkdn-s", "--device", "cpu"]) == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    mean = rows[str(weights)]
    assert mean["psnr"] == pytest.approx(TRUTH[file, dataset][0], abs=0.01)
    assert mean["ssim"] == pytest.approx(TRUTH[file, dataset][1], abs=0.0005)
    # The paper prints the same, and its bicubic is ours.
    for name, row in rows.items():
        method, paper, _ = name.partition(" (paper)")
        if paper and (method == "bicubic" or method in file.partition("_")[0].split()):
            measured = rows["bicubic"] if method == "bicubic" else mean
            assert row["psnr"] == pytest.approx(measured["psnr"], abs=0.05)


def test_the_readme_has_the_papers_figures_too() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `lkdn-s` \| (\d) .* (LKDN(?:-S)?), .*: ([\d.]+) / ([\d.]+) \|$", text, re.M
    )
    assert len(rows) == 3
    for scale, method, set5, set14 in rows:
        assert PAPER["Set5", int(scale)][method] == float(set5)
        assert PAPER["Set14", int(scale)][method] == float(set14)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "Set5"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in "ab":
        pixels = random.integers(0, 256, (33, 47, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_the_table_has_every_method_and_the_paper(
    folder: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--scale", "2", "--model", "lkdn-s", "--weights", str(weights_file)]
    assert main([str(folder), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| method | parameters | multiply-adds | PSNR dB | SSIM |"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [c[0] for c in cells] == [
        *("bicubic", "lkdn-s", str(weights_file)),
        *("bicubic (paper)", "LKDN (paper)"),
    ]
    assert cells[1][1] == "115,533"
    assert cells[4][1:4] == ["303,812", "69.13 G", "38.12"]


def test_json_has_the_pictures_behind_the_means(
    folder: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--scale", "2", "--weights", str(weights_file), "--json"]) == 0
    bicubic, network = json.loads(capsys.readouterr().out)[:2]
    for row in (bicubic, network):
        assert list(row["pictures"]) == ["a", "b"]
        mean = np.mean([psnr for psnr, _ in row["pictures"].values()])
        assert row["psnr"] == pytest.approx(mean)
    large = torch.from_numpy(np.array(Image.open(folder / "a.png"))).permute(2, 0, 1)[:, :32, :46]
    small = quantize(resize(large.double(), 16, 23), bits=8)
    enlarged = quantize(resize(small.double(), 32, 46), bits=8)
    assert bicubic["pictures"]["a"][0] == pytest.approx(psnr(enlarged, large, crop_border=2))


def test_positions_cost_what_they_are(
    folder: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for tta in ("1", "8"):
        options = ["--scale", "2", "--weights", str(weights_file), "--json", "--tta", tta]
        assert main([str(folder), *options]) == 0
        rows.append(json.loads(capsys.readouterr().out)[:2])
    (bicubic, one), (again, eight) = rows
    assert bicubic == again
    assert eight["multiply_adds"] == 8 * one["multiply_adds"]
    assert eight["parameters"] == one["parameters"] and eight["psnr"] != one["psnr"]


def test_without_a_choice_every_model_at_hand_is_measured(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("LKDN_CACHE", str(cache))
    monkeypatch.setenv("LKDN_OFFLINE", "1")
    assert main([str(folder), "--scale", "3", "--device", "cpu", "--precision", "fp32"]) == 0
    names = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    bundled = [m.name for m in list_models() if m.scale == 3 and m.bundled]
    assert names == ["bicubic", *bundled, "bicubic (paper)", "LKDN (paper)"]


def test_the_scatter_is_drawn(
    folder: Path, weights_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "new" / "scatter.png"
    arguments = [str(folder), "--scale", "2", "--weights", str(weights_file)]
    assert main([*arguments, "--plot", str(target)]) == 0
    picture = np.array(Image.open(target).convert("L"))
    assert picture.min() < 50
    assert 0.001 < (picture < 128).mean() < 0.2
    before = target.read_bytes()
    assert main([*arguments, "--plot", str(target)]) == 2
    assert f"plot: {target} is there already; -y overwrites it" in capsys.readouterr().err
    assert target.read_bytes() == before
    assert main([*arguments, "--plot", str(target), "-y"]) == 0


def test_a_place_for_the_scatter_is_looked_for_first(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("lkdn_cli.evaluate._measure", lambda *_: pytest.fail("it runs"))
    target = tmp_path / "file" / "x.png"
    target.parent.touch()
    assert main([str(folder), "--scale", "2", "--plot", str(target)]) == 1
    said = capsys.readouterr().err
    assert said == f"lkdn-evaluate: plot: {target} can't be written: Not a directory\n"


def test_a_picture_too_small_to_measure_is_named(
    folder: Path, weights_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 15)).save(folder / "icon.png")
    assert main([str(folder), "--scale", "2", "--weights", str(weights_file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    message = "FOLDER: pictures from 16x16 are accepted, icon.png has 40x15"
    assert captured.err == f"lkdn-evaluate: {message}\n"


def test_a_picture_that_cannot_be_read_is_named_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lkdn_cli.evaluate._measure", lambda *_: pytest.fail("it runs"))
    (folder / "zz.png").write_text("text")
    assert main([str(folder), "--scale", "2", "--model", "lkdn-s", "--device", "cpu"]) == 1
    assert "zz.png: is not a PNG" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        (None, 2, "holds no pictures"),
        ("a_HR.png", 2, "a_HR.png has no partner a_LR.png"),
        ("text.png", 1, "text.png: is not a PNG, JPEG"),
    ],
)
def test_bad_folders_are_one_line(  # noqa: PLR0917
    tmp_path: Path,
    weights_file: Path,
    capsys: pytest.CaptureFixture[str],
    file: str | None,
    code: int,
    message: str,
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    if file:
        (folder / file).write_text("text")
    assert main([str(folder), "--scale", "2", "--weights", str(weights_file)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("lkdn-evaluate: ")]
    assert len(lines) == 1
    assert message in lines[0]


def noise(*size: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)


def figures(  # type: ignore[type-arg]
    folder: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> dict:
    """What ``--json`` prints about bicubic at x2, as a strict reader of JSON takes it."""
    arguments = [str(folder), "--scale", "2", "--model", "lkdn-s", "--device", "cpu", "--json"]
    assert main([*arguments, *options]) == 0
    text = capsys.readouterr().out
    assert "Infinity" not in text and "NaN" not in text
    return json.loads(text)[0]  # type: ignore[no-any-return]


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line a wrong argument gives."""
    assert main([str(folder), "--device", "cpu", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("lkdn-evaluate: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("small", "message"),
    [
        ((12, 16), r"a_HR.png has to be 2 times as large as its partner of 16x12, got 48x36"),
        ((24, 32), r"a_HR.png has to be 2 times as large as its partner of 32x24, got 48x36"),
        ((18, 23), r"a_HR.png has to be 2 times as large as its partner of 23x18, got 48x36"),
    ],
)
def test_pairs_of_another_scale_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small: tuple[int, int], message: str
) -> None:
    Image.fromarray(noise(36, 48, 3)).save(tmp_path / "a_HR.png")
    Image.fromarray(noise(*small, 3)).save(tmp_path / "a_LR.png")
    assert message in refusal(tmp_path, capsys, "--scale", "2")


def test_pairs_need_not_be_cut_to_whole_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise(37, 49, 3)).save(tmp_path / "a_HR.png")
    Image.fromarray(noise(18, 24, 3)).save(tmp_path / "a_LR.png")
    assert list(figures(tmp_path, capsys)["pictures"]) == ["a"]


@pytest.mark.parametrize("ending", ["", "_HR"])
def test_names_that_differ_in_the_kind_alone_are_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    for number, name in enumerate((f"a{ending}.bmp", f"a{ending}.png", f"b{ending}.png")):
        Image.fromarray(noise(3, 32, 32, 3)[number]).save(tmp_path / name)
        if ending:
            small = tmp_path / name.replace("_HR", "_LR")
            Image.fromarray(noise(16, 16, 3)).save(small)
    row = figures(tmp_path, capsys)
    assert list(row["pictures"]) == [f"a{ending}.bmp", f"a{ending}.png", "b"]
    assert len({psnr for psnr, _ in row["pictures"].values()}) == 3


@pytest.mark.parametrize("ending", ["", "x2"])
def test_pairs_may_lie_in_two_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    together, large, small = (tmp_path / name for name in ("both", "large", "small"))
    for folder in (together, large, small):
        folder.mkdir()
    for number, name in enumerate(("a", "b")):
        more, less = noise(5, 37, 32, 3)[number], noise(7, 18, 16, 3)[number]
        for folder, picture, file in (
            (together, more, f"{name}_HR.png"),
            (together, less, f"{name}_LR.png"),
            (large, more, f"{name}.png"),
            (small, less, f"{name}{ending}.bmp"),
        ):
            Image.fromarray(picture).save(folder / file)
    pairs = "--small", str(small), "--scale", "2"
    assert figures(large, capsys, *pairs) == figures(together, capsys)
    (small / f"a{ending}.bmp").unlink()
    assert "small: a.png has no partner in" in refusal(large, capsys, *pairs)


def test_a_gif_of_one_picture_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(noise(32, 32)).save(folder / "c.gif")
    assert list(figures(folder, capsys)["pictures"]) == ["a", "b", "c"]


def test_pictures_beside_pairs_are_told_of(
    folder: Path, weights_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, side in (("x_HR", 40), ("x_LR", 20)):
        Image.new("RGB", (side, side)).save(folder / f"{name}.png")
    arguments = [str(folder), "--scale", "2", "--weights", str(weights_file)]
    assert main(arguments) == 0
    assert "pictures without _HR or _LR are passed over" in caplog.text


def test_hidden_files_are_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "._a.png").write_bytes(b"what macOS leaves beside a file")
    assert list(figures(folder, capsys)["pictures"]) == ["a", "b"]


@pytest.mark.parametrize("scale", ["5", "1", "0", "-2"])
def test_other_scales_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], scale: str
) -> None:
    assert "--scale: invalid choice: " in refusal(folder, capsys, "--scale", scale)


def test_a_picture_smaller_than_the_scale_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 1)).save(folder / "line.png")
    line = refusal(folder, capsys, "--scale", "2")
    assert "FOLDER: pictures from 16x16 are accepted, line.png has 40x1" in line


def test_deep_gray_is_measured_as_its_8_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gray = noise(32, 32)
    Image.fromarray(gray).save(tmp_path / "8.png")
    for name in ("16.png", "16.tif"):
        deep = gray.astype(np.uint16) * 257 + np.where(gray < 128, 100, -100).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / name)
    pictures = figures(tmp_path, capsys)["pictures"]
    assert pictures["8"] == pictures["16.png"] == pictures["16.tif"]


@pytest.mark.parametrize("kind", ["I", "F", "cut", "bomb"])
def test_what_cannot_be_read_is_one_line_with_the_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = folder / "c.tif"
    mode = kind if kind in "IF" else "RGB"
    Image.new(mode, (64, 64)).save(file)
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    if kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert main([str(folder), "--scale", "2", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("lkdn-evaluate: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"lkdn-evaluate: {file}: ")


def test_equal_pictures_are_null_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(folder / "flat.png")
    row = figures(folder, capsys)
    assert row["psnr"] is None
    assert row["pictures"]["flat"] == [None, pytest.approx(1)]
    assert row["pictures"]["a"][0] > 0
