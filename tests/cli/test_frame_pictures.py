"""Picture files that FFmpeg would make another video of are named."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import LKDNError
from lkdn_media.frame_pictures import check_pictures
from tests.cli.media import Command
from tests.cli.noise import noise
from tests.cli.test_image_reading import png


def tiff(path: Path, *, kind: int | None = None, **tags: Any) -> Path:
    """The head of a TIFF, which is all that is looked into, with ``tags``, of the type ``kind``."""
    directory = ImageFileDirectory_v2()
    names = ExifTags.Base
    numbers = {
        "bits": names.BitsPerSample,
        "colours": names.PhotometricInterpretation,
        "planes": names.PlanarConfiguration,
        "tile": names.TileWidth,
        "extra": names.ExtraSamples,
    }
    for name, value in tags.items():
        if kind is not None:
            directory.tagtype[numbers[name]] = kind
        directory[numbers[name]] = value
    with path.open("wb") as file:
        directory.save(file)
    return path


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"tile": 16}, "a TIFF in tiles"),
        ({"bits": (8, 8, 8, 8), "extra": (1,)}, "a TIFF whose colours are multiplied by their a"),
        ({"bits": (16, 16, 16, 16), "colours": 5}, "CMYK of 16 bits, or in planes,"),
        ({"bits": (8, 8, 8, 8), "colours": 5, "planes": 2}, "CMYK of 16 bits, or in planes,"),
    ],
)
def test_tiffs_that_are_refused(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    tags: dict[str, Any],
    words: str,
) -> None:
    """A later one too."""
    Image.fromarray(noise(3)).save(tmp_path / "1.tif")
    tiff(tmp_path / "2.tif", **tags)
    assert lkdn_video(tmp_path / "%d.tif", tmp_path / "b.mkv") == 1
    assert f"2.tif: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "tags", [{}, {"bits": (8, 8, 8, 8), "extra": (2,)}, {"bits": (8, 8, 8, 8), "colours": 5}]
)
def test_tiffs_that_are_not(tmp_path: Path, tags: dict[str, Any]) -> None:
    check_pictures([tiff(tmp_path / "a.tif", **tags)])


def test_pictures_that_are_turned_differently(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for file, orientation in zip(files, (6, 6, 1), strict=True):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(noise(3)).save(file, exif=exif)
    check_pictures(files[:2])
    with pytest.raises(LKDNError, match=r"2\.jpg: .*orientation 1\) than .*0\.jpg \(6\)"):
        check_pictures(files)


@pytest.mark.parametrize("name", ["bits", "extra"])
def test_tags_of_odd_kinds_are_left_to_the_reader(tmp_path: Path, name: str) -> None:
    check_pictures([tiff(tmp_path / "a.tif", kind=2, **{name: "text"})])


def test_damage_is_left_to_the_reader(tmp_path: Path) -> None:
    for name, data in (
        ("a.tif", b"II*\0\xff"),
        ("b.tif", b"II"),
        ("c.png", b"\x89PNG"),
        ("d.png", bytes(25)),
    ):
        (tmp_path / name).write_bytes(data)
        check_pictures([tmp_path / name])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_gray_of_few_bits(tmp_path: Path, depth: int) -> None:
    codes = np.arange(16).reshape(2, 8) % 2**depth
    path = tmp_path / "a.png"
    for chunks in ({}, {"tRNS": bytes(2)}):
        path.write_bytes(png(codes, depth, 0, **chunks))
        lost = depth < 8 and chunks
        words = f"gray of {depth} bits with transparency makes no video"
        with pytest.raises(LKDNError, match=words) if lost else nullcontext():
            check_pictures([path])
