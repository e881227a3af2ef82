"""What compression does to pictures, and packs of pairs made with it."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lkdn_cli import degrade as command
from lkdn_cli import train
from lkdn_core import Upscaler
from lkdn_core.errors import FormatError
from lkdn_core.models import WEIGHTS_FOLDER
from lkdn_core.quantize import quantize
from lkdn_media.compress import CODECS, compress
from lkdn_media.degrade import LENGTH, SPEED, Degradation, degrade, draw, moving, shrink, soften
from tests.cli.clips import Clip, make_clip


def scene(height: int = 80, width: int = 96) -> torch.Tensor:
    """A smooth coloured picture with some noise (3, H, W)."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 216, (8, 8, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    picture = torch.from_numpy(np.array(large)).permute(2, 0, 1).float() / 255
    noise = torch.from_numpy(random.normal(0, 4 / 255, picture.shape)).float()
    return (picture + noise).clamp(0, 1)


@pytest.mark.parametrize("codec", CODECS)
def test_compression_keeps_pictures_in_place_and_order(codec: str) -> None:
    """Coarser settings are further away, colours stay, no picture is lost or moved."""
    pictures = torch.stack([scene().roll(2 * i, 2) for i in range(5)])
    name = "crf" if codec.startswith("libx26") else "q"
    distances = []
    for quality in ("4", "30"):
        options = {"crf": quality} if name == "crf" else {"qmin": quality, "qmax": quality}
        decoded = compress(pictures, codec=codec, options=options)
        assert decoded.shape == pictures.shape
        error = decoded - pictures
        assert error.mean((0, 2, 3)).abs().max() < 1.5 / 255
        distances.append(float(error.square().mean().sqrt()))
        for i, picture in enumerate(decoded):
            nearest = (pictures - picture).square().mean((1, 2, 3)).argmin()
            assert int(nearest) == i
    assert 0 < distances[0] < distances[1] < 0.1


def test_without_a_codec_only_chroma_is_subsampled() -> None:
    gray = scene().mean(0, keepdim=True).expand(3, -1, -1)[None]
    assert (compress(gray) - gray).abs().max() < 1 / 255
    assert (compress(scene()[None]) - scene()).abs().max() > 4 / 255
    with pytest.raises(FormatError, match="even sizes are accepted"):
        compress(scene(81)[None])


def test_motion_is_around_the_picture() -> None:
    picture = scene()
    seen = set()
    for seed in range(12):
        pictures = moving(picture, np.random.default_rng(seed))
        assert pictures.shape == (LENGTH, *picture.shape)
        assert torch.equal(pictures[LENGTH // 2], picture)
        inside = slice(4 * SPEED, -4 * SPEED)
        steps = [
            (y, x)
            for y in range(-SPEED, SPEED + 1)
            for x in range(-SPEED, SPEED + 1)
            if pictures[0]
            .roll((-y, -x), (1, 2))[:, inside, inside]
            .equal(pictures[1][:, inside, inside])
        ]
        assert len(steps) == 1
        seen.update(steps)
    assert (0, 0) in seen
    assert len(seen) > 4


def test_blur_and_noise_are_of_their_size() -> None:
    random = np.random.default_rng(0)
    flat = torch.full((LENGTH, 3, 64, 64), 0.5)
    noisy = degrade(flat, Degradation(noise=3.0), random).float()
    # Luma keeps nearly all of it, chroma is averaged.
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    luma = torch.einsum("chw,c->hw", noisy, weights)
    assert float(luma.std()) == pytest.approx(3 * float(weights.square().sum().sqrt()), rel=0.1)
    point = torch.zeros(LENGTH, 3, 32, 32)
    point[..., 16, 16] = 1.0
    blurred = degrade(point, Degradation(blur=0.8), random).float()
    luma = torch.einsum("chw,c->hw", blurred, weights)[16, 13:20]
    spread = torch.exp(-(torch.arange(-3, 4) ** 2) / (2 * 0.8**2))
    torch.testing.assert_close(luma / luma.sum(), spread / spread.sum(), rtol=0, atol=0.02)


def test_soft_pictures_are_soft_by_so_many_large_pixels() -> None:
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1.0
    offsets = torch.arange(-16.0, 17)
    spreads = []
    for seed in range(30):
        row = soften(point, np.random.default_rng(seed))[0, 0].sum(0)
        spreads.append(float((row * offsets**2).sum() / row.sum()) ** 0.5)
    assert 0.45 < min(spreads) < 0.7 and 1.3 < max(spreads) < 1.5


def test_all_kinds_are_drawn_and_repeat() -> None:
    drawn = [draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {d.codec for d in drawn} == {*CODECS, ""}
    assert drawn == [draw(np.random.default_rng(seed)) for seed in range(60)]
    assert 0.1 < np.mean([d.blur > 0 for d in drawn]) < 0.3


@pytest.fixture
def one_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """The command's only message so far."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        (line,) = [text for text in lines if text.startswith("lkdn-degrade: ")]
        return line

    return read


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, (width, height) in enumerate([(96, 80), (101, 83), (60, 80)]):
        pixels = (scene(height, width).permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{'ABC'[i]}.png")
    make_clip(tmp_path / "clip.mp4", Clip(size=(80, 72)))
    return [str(folder), str(tmp_path / "clip.mp4")]


def test_a_pack_trains(tmp_path: Path, sources: list[str], one_line: Callable[[], str]) -> None:
    pack = tmp_path / "pack"
    arguments = [str(pack), "--data", *sources, "--versions", "2", "--seed", "1"]
    assert command.main(arguments) == 0
    assert one_line() == "lkdn-degrade: passed over: 1 smaller than 64x64"
    index = json.loads(pack.with_suffix(".json").read_text())
    sharp = [tile for i, tile in enumerate(index) if tile["shape"] != index[i - 1]["shape"]]
    # The last is the clip's; there is none of the small picture.
    assert [tile["shape"] for tile in sharp] == [[80, 96], [80, 100], [72, 80]]
    soft = [(index[i - 1], tile) for i, tile in enumerate(index) if tile not in sharp]
    assert 0 < len(soft) < 3
    assert all(after["sharpness"] < before["sharpness"] for before, after in soft)
    assert all(tile["scale"] == 2 and tile["small"] == 2 for tile in index)
    samples = np.fromfile(pack.with_suffix(".bin"), np.uint8)
    assert len(samples) == sum(3 * h * w * 3 // 2 for h, w in (tile["shape"] for tile in index))
    large = torch.from_numpy(samples[: 3 * 80 * 96].reshape(3, 80, 96))
    expected = shrink(large[None] / 255, 2)[0] * 255
    small = samples[3 * 80 * 96 :][: 2 * 3 * 40 * 48].reshape(2, 3, 40, 48)
    distance = (torch.from_numpy(small) - expected).square().mean((1, 2, 3)).sqrt()
    assert all(0.3 < d < 15 for d in distance)

    before = pack.with_suffix(".bin").read_bytes()
    again = [str(tmp_path / "again"), *arguments[1:]]
    assert command.main(again) == 0
    one_line()
    assert (tmp_path / "again.bin").read_bytes() == before
    assert command.main(arguments) == 2
    assert "is there already; -y overwrites it" in one_line()
    assert command.main([*arguments, "-y"]) == 0
    assert pack.with_suffix(".bin").read_bytes() == before

    options = "--network lkdn-s-x2 --steps 1 --batch-size 2 --patch 16 --device cpu"
    data = ["--data", f"{pack}.json"]
    assert train.main([str(tmp_path / "run"), *data, *options.split()]) == 0
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_a_wrong_option_keeps_the_pack_there_is(tmp_path: Path, sources: list[str]) -> None:
    pack = tmp_path / "v1.0"
    arguments = [str(pack), "--data", sources[0], "--versions", "0", "-y"]
    assert command.main(arguments) == 0
    before = {p.name: p.read_bytes() for p in tmp_path.glob("v1*")}
    assert before.keys() == {"v1.0.bin", "v1.0.json"}
    for change in (["--teacher", "x", "--versions", "1"], ["--teacher", "x"], ["--data", "x"]):
        assert command.main([*arguments, *change]) != 0
        assert {p.name: p.read_bytes() for p in tmp_path.glob("v1*")} == before


def test_without_versions_pictures_are_packed_alone(tmp_path: Path, sources: list[str]) -> None:
    pack = tmp_path / "pack"
    assert command.main([str(pack), "--data", sources[0], "--versions", "0"]) == 0
    index = json.loads(pack.with_suffix(".json").read_text())
    shapes = [tile["shape"] for tile in index]
    assert shapes == [[80, 96], [83, 101], [80, 60]]  # whole: the scale is not known yet
    assert not any("small" in tile for tile in index)
    assert pack.with_suffix(".bin").stat().st_size == 3 * sum(h * w for h, w in shapes)


def test_small_pictures_are_passed_over_and_counted(
    tmp_path: Path, one_line: Callable[[], str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in (("a", (64, 63)), ("b", (63, 64)), ("c", (64, 64))):
        Image.new("RGB", size).save(pictures / f"{name}.png")
    arguments = [str(tmp_path / "pack"), "--data", str(pictures), "--versions", "1"]
    assert command.main(arguments) == 0
    assert one_line() == "lkdn-degrade: passed over: 2 smaller than 64x64"
    index = json.loads((tmp_path / "pack.json").read_text())
    assert {tuple(tile["shape"]) for tile in index} == {(64, 64)}  # and maybe a soft one


@pytest.mark.parametrize("ending", ["", "x2"])
def test_pairs_of_ones_own_are_packed(tmp_path: Path, ending: str) -> None:
    """In two folders, as DIV2K's are; an odd column of the large picture is left out."""
    large, small = tmp_path / "large", tmp_path / "small"
    random = np.random.default_rng(1)
    pictures = {}
    for name, height, width in (("1", 40, 61), ("2", 16, 34)):
        for folder, size, end in (
            (large, (height, width, 3), ""),
            (small, (height // 2, width // 2, 3), ending),
        ):
            folder.mkdir(exist_ok=True)
            pixels = random.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}{end}.png")
            pictures[folder, name] = pixels.transpose(2, 0, 1)
    pack = tmp_path / "pack"
    arguments = [str(pack), "--data", str(large), "--small", str(small)]
    assert command.main(arguments) == 0
    first, second = json.loads(pack.with_suffix(".json").read_text())
    assert (first["shape"], second["shape"]) == ([40, 60], [16, 34])
    assert all((tile["scale"], tile["small"]) == (2, 1) for tile in (first, second))
    samples = np.fromfile(pack.with_suffix(".bin"), np.uint8)
    expected = [pictures[folder, name] for name in "12" for folder in (large, small)]
    expected[0] = expected[0][..., :60]
    assert (samples == np.concatenate([p.ravel() for p in expected])).all()
    options = "--network lkdn-s-x2 --steps 1 --batch-size 2 --patch 8 --device cpu"
    assert train.main([str(tmp_path / "run"), "--data", f"{pack}.json", *options.split()]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "small: b.png has no partner in"),
        (["--versions", "2"], "versions: 0 is accepted with small, got 2"),
        (["--teacher", "x.pth"], "small: without teacher is accepted, got both"),
        (["--exclude", "x"], "small: one folder of --data is accepted with it, and no --exclude"),
        (["--small", "nowhere"], "a folder of pictures is accepted, got nowhere"),
    ],
)
def test_pairs_that_are_none_are_named(
    tmp_path: Path, one_line: Callable[[], str], change: list[str], message: str
) -> None:
    for folder, name, side in (("large", "a", 16), ("large", "b", 16), ("small", "a", 8)):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (side, side)).save(tmp_path / folder / f"{name}.png")
    data = ["--data", str(tmp_path / "large"), "--small", str(tmp_path / "small")]
    assert command.main([str(tmp_path / "pack"), *data, *change]) == 2
    assert message in one_line()
    assert not list(tmp_path.glob("pack*"))


def test_a_pack_that_finds_no_room_is_named(
    tmp_path: Path, sources: list[str], one_line: Callable[[], str]
) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = [str(tmp_path / "pack"), "--data", sources[0], "--versions", "0"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        assert command.main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert one_line() == f"lkdn-degrade: {tmp_path}/pack.bin: File too large"
    assert not list(tmp_path.glob("pack*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--scale", "5"], "scale: 2, 3 or 4 is accepted, got 5"),
        (["--versions", "-1"], "versions: an integer from 0 is accepted, got -1"),
        (["--data", "nowhere"], "folders and .tar files are accepted, got nowhere"),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path,
    sources: list[str],
    one_line: Callable[[], str],
    change: list[str],
    message: str,
) -> None:
    assert command.main([str(tmp_path / "pack"), "--data", *sources, *change]) == 2
    assert message in one_line()
    assert not (tmp_path / "pack.json").exists()


def test_a_teacher_makes_the_large_pictures(tmp_path: Path) -> None:
    """Targets are what the checkpoint makes of the clean small picture, and training takes them."""
    weights = WEIGHTS_FOLDER / "lkdn-s-x2.safetensors"
    (tmp_path / "pictures").mkdir()
    pixels = (scene(66, 82) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "pictures" / "a.png")
    pack, data = tmp_path / "pack.json", ["--data", str(tmp_path / "pictures")]
    common = [str(pack), "--scale", "2", "--teacher", str(weights), *data]
    assert command.main(["--versions", "1", *common]) == 2
    assert command.main(["--versions", "0", *common]) == 0
    (tile,) = json.loads(pack.read_text())
    assert tile["shape"] == [64, 80] and (tile["scale"], tile["small"]) == (2, 1)
    samples = torch.from_numpy(np.fromfile(pack.with_suffix(".bin"), np.uint8))
    large, small = samples[: 3 * 64 * 80].view(3, 64, 80), samples[3 * 64 * 80 :].view(3, 32, 40)
    clean = torch.from_numpy(pixels[:64, :80]).permute(2, 0, 1)[None].float() / 255
    assert torch.equal(small, quantize(shrink(clean, 2) * 255, bits=8)[0])
    enlarged = Upscaler(scale=2, weights=weights).up(small[None].float() / 255)[0]
    assert torch.equal(large, quantize(enlarged * 255, bits=8))
    run = [str(tmp_path / "run"), "--network", "lkdn-s-x2", "--data", str(pack)]
    assert train.main([*run, "--steps", "1", "--batch-size", "1", "--patch", "8"]) == 0


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pack_leaves_nothing(
    kind: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_and_the_end(*_: object) -> Iterator[torch.Tensor]:
        yield scene()[None]
        signal.raise_signal(kind)

    monkeypatch.setattr(command, "_sequences", one_and_the_end)
    arguments = [str(tmp_path / "pack"), "--data", str(tmp_path), "--versions", "0"]
    assert command.main(arguments) == 130
    assert not list(tmp_path.iterdir())
