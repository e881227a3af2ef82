"""The network of a picture for which none is named."""

import json
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pytest
from PIL import Image, features

from lkdn_cli.image import main
from tests.cli.media import ImageCommand

FLOWER: Final = Path(__file__).parents[2] / "samples" / "flower.mp4"
FIXED: Final = ("--scale", "2", "--device", "cpu", "--json")
AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A piece of the sample, of odd sides."""
    with av.open(str(FLOWER)) as source:
        frame = next(source.decode(video=0))
    return frame.to_image().crop((0, 0, 121, 83))


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[tuple[str, float | None]]:
    """Network and strength of each picture that was enlarged."""
    capsys.readouterr()
    assert main([*map(str, arguments), *FIXED]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(e["model"], e.get("denoise")) for e in events if e["event"] == "done"]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.jpg", {"quality": 60}, ("lkdn-s-video", None)),
        ("a.jpg", {"quality": 88}, ("lkdn-s", 0.75)),
        ("a.jpg", {"quality": 100, "subsampling": 0}, ("lkdn-s", None)),
        ("a.webp", {"quality": 50}, ("lkdn-s-video", None)),
        ("a.webp", {"lossless": True}, ("lkdn-s", None)),
        pytest.param("a.avif", {"quality": 40}, ("lkdn-s-video", None), marks=AVIF),
        ("a.png", {}, ("lkdn-s", None)),
        ("a.gif", {}, ("lkdn-s", None)),
    ],
)
def test_goes_by_what_the_file_left(
    *,
    name: str,
    options: dict[str, Any],
    expected: tuple[str, float | None],
    picture: Image.Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture.save(tmp_path / name, **options)
    assert told(capsys, tmp_path / name, tmp_path / "b.png") == [expected]
    asked = told(capsys, tmp_path / name, tmp_path / "c.png", "--denoise", "0.25")
    assert asked == [("lkdn-s", 0.25)]


def test_labels_are_not_samples(
    picture: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60000
    for ending in ("jpg", "webp"):
        here = tmp_path / f"a.{ending}"
        picture.save(here, quality=50, exif=exif, xmp=b"y" * 60000)
        assert told(capsys, here, tmp_path / f"{ending}.png") == [("lkdn-s-video", None)]


def test_pictures_behind_the_first_do_not_count(
    picture: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "a.jpg"
    picture.save(here, "MPO", quality=60, save_all=True, append_images=[picture] * 3)
    assert told(capsys, here, tmp_path / "b.png") == [("lkdn-s-video", None)]


def test_gray_and_transparent_pictures_have_one_too(
    picture: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture.convert("L").save(tmp_path / "a.jpg", quality=30)
    see_through = picture.copy()
    see_through.putalpha(picture.convert("L"))
    see_through.save(tmp_path / "b.webp", quality=50)
    picture.convert("CMYK").save(tmp_path / "c.jpg", quality=30)
    found = told(capsys, *(tmp_path / name for name in ("a.jpg", "b.webp")), tmp_path / "out/")
    assert found == [("lkdn-s-video", None)] * 2
    assert len(told(capsys, tmp_path / "c.jpg", tmp_path / "c.png")) == 1


def test_no_size_is_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in ((1, 1), (1, 40), (16383, 1)):
        here = tmp_path / f"{size[0]}x{size[1]}.webp"
        Image.new("RGB", size, "tan").save(here, quality=50)
        assert len(told(capsys, here, tmp_path / f"{here.stem}.png")) == 1
        assert Image.open(tmp_path / f"{here.stem}.png").size == (2 * size[0], 2 * size[1])


def test_that_network_does_the_work(
    picture: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in/a.jpg", quality=40)
    picture.save(tmp_path / "in/b.png")
    options = ("--format", "png")
    assert told(capsys, tmp_path / "in", tmp_path / "own", *options) == [
        ("lkdn-s-video", None),
        ("lkdn-s", None),
    ]
    again = (*map(str, (tmp_path / "in", tmp_path / "again")), *options, *FIXED[:-1])
    assert main([*again]) == 0
    said = capsys.readouterr().err
    assert said.endswith("again: 2 enlarged; 1 by lkdn-s-video, 1 by lkdn-s\n")
    for name in ("lkdn-s", "lkdn-s-video"):
        told(capsys, tmp_path / "in", tmp_path / name, *options, "--model", name)
    read = {file: np.asarray(Image.open(file)) for file in tmp_path.glob("*/*.png")}
    for file, same in (("a.png", "lkdn-s-video"), ("b.png", "lkdn-s")):
        (other,) = {"lkdn-s", "lkdn-s-video"} - {same}
        assert (read[tmp_path / "own" / file] == read[tmp_path / same / file]).all()
        assert (read[tmp_path / "own" / file] != read[tmp_path / other / file]).any()


def test_weights_of_ones_own_are_told(
    picture: Image.Image,
    tmp_path: Path,
    lkdn_image: ImageCommand,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture.save(tmp_path / "a.jpg", quality=40)
    assert lkdn_image(tmp_path / "a.jpg", tmp_path / "b.png", "--json") == 0
    event = json.loads(capsys.readouterr().out.splitlines()[0])
    assert event["model"].endswith(".safetensors") and "denoise" not in event
