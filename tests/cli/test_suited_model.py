"""The network of a video for which none is named."""

import json
from pathlib import Path

import pytest
from PIL import Image

from lkdn_cli.video import main
from tests.cli.clips import Clip, make_clip
from tests.cli.media import frames, planes


def network(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Model and scale that ``lkdn-video`` would take."""
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("network ")]
    return line.removeprefix("network ")


def by_crf(crf: int) -> dict[str, str]:
    return {"crf": str(crf), "x264-params": "mbtree=0"}


def by_scale(scale: int) -> dict[str, str]:
    return {"qmin": str(scale), "qmax": str(scale)}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options", "expected"),
    [
        ("a.mp4", "libx264", "yuv420p", by_crf(5), "lkdn-s (denoise 0.5)"),
        ("a.mkv", "libx264", "yuv420p10le", by_crf(5), "lkdn-s (denoise 0.5)"),
        ("a.ts", "libx264", "yuv420p", by_crf(19), "lkdn-s (denoise 0.75)"),
        ("a.mkv", "libx264", "yuv444p", by_crf(32), "lkdn-s-video"),
        ("a.mkv", "mpeg2video", "yuv420p", by_scale(3), "lkdn-s (denoise 0.75)"),
        ("a.mpg", "mpeg2video", "yuv420p", by_scale(16), "lkdn-s-video"),
        ("a.avi", "mpeg4", "yuv420p", by_scale(16), "lkdn-s-video"),
        ("a.avi", "mjpeg", "yuvj422p", by_scale(16), "lkdn-s-video"),
        ("a.264", "libx264", "yuv420p", by_crf(5), "lkdn-s (denoise 0.5)"),
        ("a.mkv", "ffv1", "yuv420p", {}, "lkdn-s"),
        ("a.mov", "prores_ks", "yuv422p10le", {}, "lkdn-s"),
        ("a.mov", "cfhd", "yuv422p10le", {}, "lkdn-s"),
        ("a.apng", "apng", "gray", {}, "lkdn-s"),
    ],
)
def test_by_what_the_codec_leaves(
    *,
    name: str,
    codec: str,
    pix_fmt: str,
    options: dict[str, str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = Clip(codec=codec, pix_fmt=pix_fmt, options=options, size=(320, 180))
    here, there = make_clip(tmp_path / name, clip), str(tmp_path / "b.mkv")
    assert network(capsys, str(here), there) == f"{expected} x4"
    assert network(capsys, str(here), there, "--height", "360") == f"{expected} x2"
    named = network(capsys, str(here), there, "--model", "official-lkdn", "--scale", "3")
    assert named == "official-lkdn x3"


def test_by_the_files_of_single_pictures(
    tmp_path: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip(size=(160, 90)))
    large, own = str(tmp_path / "b.mkv"), str(nearest[2])
    options = ("--scale", "2", "--weights", own, "--device", "cpu")
    assert main([str(here), f"{tmp_path / 'png'}/", *options]) == 0
    assert network(capsys, str(tmp_path / "png"), large) == "lkdn-s x4"
    for quality, expected in ((30, "lkdn-s-video"), (100, "lkdn-s")):
        folder = tmp_path / f"jpg{quality}"
        folder.mkdir()
        for file in (tmp_path / "png").iterdir():
            Image.open(file).convert("RGB").save(folder / f"{file.stem}.jpg", quality=quality)
        assert network(capsys, str(folder), large) == f"{expected} x4"
    assert network(capsys, str(here), large, "--weights", own) == f"{own} x2"


def test_one_between_the_two_can_be_asked_for(
    tmp_path: Path, nearest: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip(pts=range(1)))
    there = str(tmp_path / "b.mkv")
    assert network(capsys, str(here), there, "--denoise", ".5") == "lkdn-s (denoise 0.5) x4"
    options = ("--denoise", "1", "--scale", "3", "--device", "cpu", "--codec", "ffv1")
    assert main([str(here), there, *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (told["model"], told["denoise"]) == ("lkdn-s", 1)
    same = tmp_path / "c.mkv"
    assert main([str(here), str(same), *options[2:], "--model", "lkdn-s-video"]) == 0
    for one, other in zip(frames(Path(there)), frames(same), strict=True):
        assert (one.to_ndarray() == other.to_ndarray()).all()
    for wrong in (
        ("2",),
        ("0.5", "--weights", str(nearest[2])),
        ("0.5", "--model", "official-lkdn"),
    ):
        capsys.readouterr()
        assert main([str(here), str(tmp_path / "d.mkv"), "--denoise", *wrong]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("lkdn-video: denoise: ")


@pytest.mark.parametrize(
    ("codec", "options", "same", "other"),
    [
        ("libx264", by_crf(32), ("--model", "lkdn-s-video"), ("--model", "lkdn-s")),
        ("libx264", by_crf(5), ("--denoise", "0.5"), ("--model", "lkdn-s-video")),
        ("ffv1", {}, ("--model", "lkdn-s"), ("--model", "lkdn-s-video")),
    ],
)
def test_that_network_does_the_work(
    *,
    codec: str,
    options: dict[str, str],
    same: tuple[str, str],
    other: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = Clip(codec=codec, options=options, pts=range(1), size=(160, 90))
    here = make_clip(tmp_path / "a.mkv", clip)
    files = [tmp_path / f"{number}.mkv" for number in range(3)]
    fixed = ("--scale", "2", "--device", "cpu", "--codec", "ffv1")
    assert main([str(here), str(files[0]), *fixed]) == 0
    told = capsys.readouterr().err
    for file, network in zip(files[1:], (same, other), strict=True):
        assert main([str(here), str(file), *fixed, *network]) == 0
        by = capsys.readouterr().err.split(" by ")[1].split(",")[0]
        assert (f" by {by}, " in told) == (network == same)
    own, named, unlike = [planes(frames(file)[0])[0] for file in files]
    assert (own == named).all() and (own != unlike).any()
