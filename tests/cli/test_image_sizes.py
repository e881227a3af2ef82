"""``lkdn-image``: final sizes, with ``--width``, ``--height`` and ``--fit``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lkdn_core import Upscaler
from lkdn_core.resize import FinalSize, resize
from lkdn_media import parts, stills
from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import Still, read_still
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.picture_batch import enlarge_files
from lkdn_media.picture_jobs import plan_jobs
from lkdn_media.sizes import SizeChoice
from tests.cli.media import ImageCommand
from tests.cli.noise import Pixels, noise, twice


def write(path: Path, pixels: Pixels) -> Path:
    path.write_bytes(WRITERS[path.suffix].encode(Still(pixels), Quality()))
    return path


def shrunk(pixels: Pixels, height: int, width: int) -> Pixels:
    """``pixels`` repeated twice each way, as the network does, and resized without rounding."""
    large = torch.from_numpy(twice(pixels).astype(np.float64)).movedim(-1, 0)
    limit = np.iinfo(pixels.dtype).max
    return resize(large, height, width).movedim(0, -1).clamp(0, limit).numpy()


def distance(new: Pixels, expected: Pixels) -> float:
    """The largest one, in codes of 8 bits, away from the borders, where the kernels differ."""
    apart = np.abs(new.astype(np.float64) - expected)[4:-4, 4:-4]
    return float(apart.max()) / (1 if new.itemsize == 1 else 257)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colours_and_alpha_are_resized_before_they_are_rounded(
    tmp_path: Path, lkdn_image: ImageCommand, channels: int, dtype: type
) -> None:
    pixels = noise(channels, dtype, size=(23, 27))
    if channels in (2, 4):
        pixels[..., -1] |= 1  # no colour is hidden
    here, there = write(tmp_path / "a.png", pixels), tmp_path / "b.png"
    assert lkdn_image(here, there, "--width", 41) == 0
    new = read_still(there).pixels
    assert (new.shape, new.dtype) == ((35, 41, channels), pixels.dtype)
    colours = slice(0, channels if channels in (1, 3) else channels - 1)
    expected = shrunk(pixels, 35, 41)
    assert distance(new[..., colours], expected[..., colours]) < 0.51
    assert distance(new, expected) < 1.01  # alpha is rounded before, too


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("--width 41", (41, 35)),
        ("--height 35", (41, 35)),
        ("--width 41 --height 41", (41, 35)),
        ("--width 41 --height 41 --fit cover", (41, 41)),
        ("--width 41 --height 20 --fit stretch", (41, 20)),
        ("--width 54", (54, 46)),
        ("--width 9", (9, 8)),
    ],
)
def test_what_each_fit_makes(
    tmp_path: Path, lkdn_image: ImageCommand, options: str, size: tuple[int, int]
) -> None:
    here = write(tmp_path / "a.png", noise(3, size=(23, 27)))
    assert lkdn_image(here, tmp_path / "b.png", *options.split()) == 0
    with Image.open(tmp_path / "b.png") as new:
        assert new.size == size


def test_cover_keeps_the_middle(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    pixels = noise(3, size=(20, 40))
    here, there = write(tmp_path / "a.png", pixels), tmp_path / "b.png"
    options = ["--width", 40, "--height", 40, "--fit", "cover"]
    page = tmp_path / "page.html"
    assert lkdn_image(here, there, *options, "--compare", page) == 0
    assert np.array_equal(read_still(there).pixels, twice(pixels[:, 10:30]))
    assert "<title>a.png</title>" in page.read_text("utf-8")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_width_is_that_of_the_picture_as_it_is_shown(
    tmp_path: Path, lkdn_image: ImageCommand, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x8769] = 6, {0xA002: 27, 0xA003: 23}
    here, there = tmp_path / "a.png", tmp_path / f"b{suffix}"
    Image.fromarray(noise(3, size=(23, 27))).save(here, exif=exif.tobytes(), dpi=(300, 300))
    assert lkdn_image(here, there, "--width", 35) == 0
    new = read_still(there)
    if suffix == ".bmp":  # which is turned
        assert (new.width, new.height) == (35, 41)
        return
    assert (new.width, new.height, new.labels.orientation) == (41, 35, 6)
    camera = new.labels.exif[0x8769]
    assert (camera[0xA002], camera[0xA003]) == (41, 35)
    assert new.labels.dpi == pytest.approx((300, 300), abs=0.01)


def test_turned_pictures_share_no_batch_with_others(
    tmp_path: Path, lkdn_image: ImageCommand
) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    for orientation in (1, 8):
        exif[0x0112] = orientation
        picture = Image.fromarray(noise(3, size=(23, 27)))
        picture.save(tmp_path / f"in/{orientation}.png", exif=exif.tobytes())
    out = tmp_path / "out"
    assert lkdn_image(tmp_path / "in", out, "--height", 41, "--batch-size", 2) == 0
    sizes = [Image.open(out / name).size for name in ("1.png", "8.png")]
    assert sizes == [(48, 41), (41, 35)]


@pytest.mark.parametrize("mode", ["P", "CMYK", "1"])
def test_other_modes_too(tmp_path: Path, lkdn_image: ImageCommand, mode: str) -> None:
    here = tmp_path / "a.tif"
    Image.fromarray(noise(3, size=(23, 27))).convert(mode).save(here)
    assert lkdn_image(here, tmp_path / "b.png", "--height", 35) == 0
    with Image.open(tmp_path / "b.png") as new:
        assert (new.size, new.mode) == ((41, 35), "L" if mode == "1" else "RGB")


def test_each_picture_of_a_batch_gets_its_own(nearest: dict[int, Path], tmp_path: Path) -> None:
    """The smallest scale that reaches the size; neighbours that are alike share a run."""
    runs: list[tuple[int, int]] = []

    class Counting(Upscaler):
        def up_planes(self, planes: Any, *args: Any, **options: Any) -> Any:
            runs.append((self.scale, len(planes[0])))
            return super().up_planes(planes, *args, **options)

    (tmp_path / "in").mkdir()
    for i, size in enumerate([(24, 30), (24, 30), (9, 12), (30, 24), (40, 70), (4, 5)]):
        write(tmp_path / f"in/{i}.png", noise(3, size=size))
    made = {
        scale: Counting(scale=scale, weights=file, device="cpu", batch_size=2)
        for scale, file in nearest.items()
    }
    jobs, told_of = plan_jobs([tmp_path / "in"], tmp_path / "out").jobs, list[float]()
    outcomes = list(
        enlarge_files(
            jobs,
            lambda _, scale: made[scale],
            network_of=lambda _: NetworkChoice("nearest"),
            scales=(2, 3),
            size=SizeChoice(width=31),
            quality=Quality(),
            progress=told_of.append,
        )
    )
    assert told_of == sorted(told_of) and told_of[0] == 0 and told_of[-1] == 1
    assert {0, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1} <= set(told_of)
    assert runs == [(2, 2), (3, 1), (2, 1), (2, 1)]
    sizes = [Image.open(outcome.job.target).size for outcome in outcomes[:5]]
    assert sizes == [(31, 25), (31, 25), (31, 23), (31, 39), (31, 18)]
    told = str(outcomes[5].error)
    assert told.startswith(f"{tmp_path / 'in/5.png'}: width: at most 6 times the source's 5x4 is ")
    assert not outcomes[5].job.target.exists()


def test_what_bicubic_does_is_said(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    here = write(tmp_path / "a.png", noise(3, size=(9, 12)))
    for width, told in ((24, 0), (36, 1)):
        assert lkdn_image(here, tmp_path / f"{width}.png", "--width", width) == 0
        lines = capsys.readouterr().err.count(
            f"warning: {here}: the network enlarges 2 times, bicubic the rest: 1.5 times"
        )
        assert lines == told


def test_a_scale_between_those_of_the_network(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    here = write(tmp_path / "a.png", noise(3, size=(9, 13)))
    assert lkdn_image(here, tmp_path / "b.png", "--scale", "1.5") == 0
    assert Image.open(tmp_path / "b.png").size == (20, 14)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("crop", [None, (10, 4, 120, 110)])
def test_parts_are_resized_as_one(
    monkeypatch: pytest.MonkeyPatch,
    untrained: Path,
    channels: int,
    crop: tuple[int, int, int, int] | None,
) -> None:
    upscaler = Upscaler(scale=2, weights=untrained, device="cpu")
    picture, size = Still(noise(channels, size=(70, 75))), FinalSize(width=77, height=71, crop=crop)
    (whole,) = stills.enlarge_stills([picture], upscaler, deep=True, size=size)
    monkeypatch.setattr(parts, "PART_PIXELS", 1)
    (pieces,) = stills.enlarge_stills([picture], upscaler, deep=True, size=size)
    assert np.abs(whole.pixels.astype(int) - pieces.pixels).max() <= 1
    assert (whole.pixels != pieces.pixels).mean() < 0.01  # 16 bits between, where they are cut


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--width 0", 2, "width: a positive number is accepted, got 0"),
        ("--width 9 --fit cover", 2, "fit: cover needs both width and height"),
        ("--height 93", 2, "a.png: height: at most 4 times the source's 27x23 is accepted, got 93"),
        (
            *("--width 50 --height 93 --fit stretch", 2),
            "a.png: height: at most 4 times the source's 27x23 is accepted, got 93",
        ),
        (
            *("--width 120 --height 93", 2),
            "a.png: height: at most 4 times the source's 27x23 is accepted, got 93",
        ),
        ("--fit crop", 2, "argument --fit: invalid choice"),
        ("--scale 9", 2, "scale: 1 to 8 is accepted, got 9"),
        ("--scale 0.99", 2, "scale: 1 to 8 is accepted, got 0.99"),
        ("--scale 5", 2, "scale: at most 4 is accepted with this network, got 5"),
        ("--scale 1.5 --width 9", 2, "scale: 2, 3 or 4 is accepted with width or height, got 1.5"),
        ("--scale 1e999999999", 2, "argument --scale: a number is accepted, got 1e999999999"),
        ("--scale nan", 2, "argument --scale: a number is accepted, got nan"),
    ],
)
def test_one_line_and_the_code(
    *,
    tmp_path: Path,
    lkdn_image: ImageCommand,
    capsys: pytest.CaptureFixture[str],
    options: str,
    code: int,
    message: str,
) -> None:
    here = write(tmp_path / "a.png", noise(3, size=(23, 27)))
    assert lkdn_image(here, tmp_path / "b.png", *options.split()) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "b.png").exists()


def test_the_longest_side_is_that_of_the_final_size(
    tmp_path: Path, lkdn_image: ImageCommand
) -> None:
    write(tmp_path / "long.png", np.zeros((2, 8200, 1), np.uint8))
    assert lkdn_image(tmp_path / "long.png", tmp_path / "b.webp", "--width", 16383) == 0
    assert lkdn_image(tmp_path / "long.png", tmp_path / "c.webp", "--width", 16384) == 1
