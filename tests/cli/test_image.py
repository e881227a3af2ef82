"""``lkdn-image``: pixels, depth, transparency and labels of the new file; folders; failures."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from lkdn_cli.image import main
from lkdn_core import Upscaler
from lkdn_media import parts, stills
from lkdn_media.image_writers import WRITERS
from lkdn_media.images import Still, read_still

Command = Callable[..., int]
Pixels = NDArray[Any]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = (".png", ".tif", ".bmp")


@pytest.fixture
def lkdn_image(nearest: dict[int, Path]) -> Command:
    """The command with a network that repeats every pixel twice each way."""

    def command(*arguments: object) -> int:
        fixed = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
        return main([*map(str, arguments), *fixed])

    return command


def noise(channels: int, dtype: type = np.uint8, size: tuple[int, int] = (11, 13)) -> Pixels:
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels), dtype)


def twice(pixels: Pixels) -> Pixels:
    return pixels.repeat(2, 0).repeat(2, 1)


def write(path: Path, pixels: Pixels) -> Path:
    """A picture by our own writer, which the tests check against other readers."""
    path.write_bytes(WRITERS[path.suffix].encode(Still(pixels), stills_quality()))
    return path


def stills_quality() -> Any:
    from lkdn_media.image_writers import Quality

    return Quality()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_depth_and_channels_are_kept(
    tmp_path: Path, lkdn_image: Command, channels: int, dtype: type, suffix: str
) -> None:
    pixels = noise(channels, dtype)
    if channels in (2, 4):
        pixels[..., -1] |= 1  # no pixel is quite transparent, so no colour is replaced
    here, there = write(tmp_path / f"a{suffix}", pixels), tmp_path / f"b{suffix}"
    assert lkdn_image(here, there) == 0
    new = by_ffmpeg(there)
    if suffix == ".tif" and pixels.dtype == np.uint16 and channels == 2:
        assert np.array_equal(new[..., 0], new[..., 2])  # as RGB, see the writer
        new = new[..., ::3]
    assert (new.shape, new.dtype) == ((22, 26, channels), pixels.dtype)
    # Between codes of 16 bits float32 rounds; the network's own arithmetic costs a code or two.
    assert np.abs(new.astype(int) - twice(pixels)).max() <= (0 if dtype == np.uint8 else 2)
    with Image.open(there) as image:
        image.load()
        assert image.size == (26, 22)


def by_ffmpeg(path: Path) -> Pixels:
    """The pixels of a PNG or TIFF as FFmpeg reads them."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    channels = len(frame.format.components)
    deep = frame.format.components[0].bits == 16
    order = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows = np.frombuffer(frame.planes[0], order if deep else np.uint8).reshape(frame.height, -1)
    rows = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return rows.astype(np.uint16 if deep else np.uint8)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_modes_of_pillow(tmp_path: Path, lkdn_image: Command, mode: str, suffix: str) -> None:
    picture = Image.fromarray(noise(3)).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    assert lkdn_image(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}") == 0
    with Image.open(tmp_path / f"b{suffix}") as new:
        expected = "RGB" if mode in ("RGB", "P") else "L"
        assert new.mode == expected
        assert np.array_equal(np.asarray(new), twice(np.asarray(picture.convert(expected))))


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_close(tmp_path: Path, lkdn_image: Command, suffix: str) -> None:
    smooth = Image.linear_gradient("L").resize((40, 30))
    smooth = Image.merge("RGB", (smooth, smooth.rotate(180), smooth.rotate(90).resize((40, 30))))
    smooth.save(tmp_path / "a.png")
    assert lkdn_image(tmp_path / "a.png", tmp_path / f"b{suffix}", "--quality", 98) == 0
    with Image.open(tmp_path / f"b{suffix}") as new:
        assert np.abs(np.asarray(new).astype(int) - twice(np.asarray(smooth))).mean() < 3
    sizes = []
    for quality in (20, 98):
        lkdn_image(tmp_path / "a.png", tmp_path / f"b{suffix}", "-y", "--quality", quality)
        sizes.append((tmp_path / f"b{suffix}").stat().st_size)
    assert sizes[0] < sizes[1]


def test_webp_without_loss(tmp_path: Path, lkdn_image: Command) -> None:
    pixels = noise(4) | 1
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True)
    assert lkdn_image(tmp_path / "a.webp", tmp_path / "b.webp", "--lossless") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.webp")), twice(pixels))


def labelled(orientation: int = 6) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif[0x8769] = {0xA002: 13, 0xA003: 11, 0x9003: "2026:01:02 03:04:05", 0x829A: 0.5}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.5)}
    return {"exif": exif.tobytes(), "icc_profile": SRGB, "dpi": (300, 300)}


@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".tif"])
def test_labels_travel(tmp_path: Path, lkdn_image: Command, source: str, target: str) -> None:
    """Orientation stays a tag and the pixels stay as they are stored, in every pair of formats."""
    here, there = tmp_path / f"a{source}", tmp_path / f"b{target}"
    Image.fromarray(noise(3)).save(here, **labelled())
    assert lkdn_image(here, there) == 0
    with Image.open(there) as new:
        # Pillow tells the size of a TIFF as it is shown, of others as it is stored.
        assert new.size == ((22, 26) if target == ".tif" else (26, 22))
        exif = new.getexif()
        assert exif[0x0112] == 6
        assert exif[0x010F] == "Maker"
        camera = exif.get_ifd(0x8769)
        assert (camera[0xA002], camera[0xA003]) == (26, 22)
        assert (camera[0x9003], float(camera[0x829A])) == (
            "2026:01:02 03:04:05",
            0.5,
        )
        assert [float(x) for x in exif.get_ifd(0x8825)[2]] == [52.0, 30.0, 0.5]
        assert new.info["icc_profile"] == SRGB
        if ".webp" not in (source, target):  # has no place for a resolution
            assert new.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert not any(tag in exif for tag in (0x0111, 0x0117)) or target == ".tif"
        shown = np.asarray(ImageOps.exif_transpose(new))
    if source in LOSSLESS and target in LOSSLESS:
        assert np.array_equal(shown, np.rot90(twice(noise(3)), -1))


def test_turned_tiff_of_16_bits(tmp_path: Path, lkdn_image: Command) -> None:
    pixels = noise(1, np.uint16)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.tif", **labelled(8))
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    assert np.abs(by_ffmpeg(tmp_path / "b.png").astype(int) - twice(pixels)).max() <= 2
    assert Image.open(tmp_path / "b.png").getexif()[0x0112] == 8


def test_bmp_is_turned_since_it_has_no_orientation(
    tmp_path: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = noise(3)
    Image.fromarray(pixels).save(tmp_path / "a.png", **labelled(6))
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.bmp") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.bmp")), np.rot90(twice(pixels), -1))
    assert "BMP can't hold the ICC profile, EXIF" in capsys.readouterr().err


def test_texts_and_colour_chunks_of_a_png_stay(tmp_path: Path, lkdn_image: Command) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "steps: 20")
    texts.add_itxt("Titel", "Größe", zip=True)
    texts.add(b"cICP", bytes((9, 16, 0, 1)))
    texts.add(b"gAMA", struct.pack(">I", 45455))
    Image.fromarray(noise(3)).save(tmp_path / "a.png", pnginfo=texts)
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.png") == 0
    with Image.open(tmp_path / "b.png") as new:
        new.load()
        assert isinstance(new, PngImagePlugin.PngImageFile)
        assert new.text == {"parameters": "steps: 20", "Titel": "Größe"}
        assert new.info["gamma"] == 0.45455
    assert b"cICP" + bytes((9, 16, 0, 1)) in (tmp_path / "b.png").read_bytes()


def test_flat_alpha_does_not_change_and_colour_does_not_bleed(
    tmp_path: Path, untrained: Path
) -> None:
    """Whatever lies under transparent pixels, the visible ones come out the same."""
    pixels = np.full((24, 26, 4), (200, 40, 40, 255), np.uint8)
    pixels[:, 13:, 3] = 0
    results = []
    for name, hidden in (("black", (0, 0, 0)), ("green", (0, 255, 0))):
        pixels[:, 13:, :3] = hidden
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        out = tmp_path / f"{name}2.png"
        options = ["--scale", "2", "--weights", str(untrained), "--device", "cpu"]
        assert main([str(tmp_path / f"{name}.png"), str(out), *options]) == 0
        results.append(np.asarray(Image.open(out)))
    assert np.array_equal(*results)
    alpha = results[0][..., 3]
    assert (alpha[:, :24] == 255).all()
    assert (alpha[:, 28:] == 0).all()
    plain = Upscaler(scale=2, weights=untrained, device="cpu")
    opaque = np.full((24, 26, 3), (200, 40, 40), np.uint8)
    (flat,) = stills.enlarge_stills([Still(opaque)], plain, deep=True)
    assert np.array_equal(flat.pixels, results[0][..., :3])


def test_transparent_palette_and_gray(tmp_path: Path, lkdn_image: Command) -> None:
    palette = Image.fromarray(noise(1)[..., 0] // 64, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.save(tmp_path / "a.png", transparency=2)
    gray = Image.fromarray(noise(1)[..., 0] // 64, "P")
    gray.putpalette([0, 0, 0, 80, 80, 80, 160, 160, 160, 255, 255, 255])
    gray.save(tmp_path / "g.gif")
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.png") == 0
    assert lkdn_image(tmp_path / "g.gif", tmp_path / "g.png") == 0
    new = Image.open(tmp_path / "b.png")
    assert new.mode == "RGBA"
    old = twice(np.asarray(palette.convert("P")))
    assert np.array_equal(np.asarray(new)[..., 3] == 0, old == 2)
    assert Image.open(tmp_path / "g.png").mode == "L"


def test_what_a_format_lacks_is_said(
    tmp_path: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png", noise(4, np.uint16))
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.jpg") == 0
    said = capsys.readouterr().err
    assert "JPEG has 8 bits, not 16" in said
    assert "JPEG has no transparency, white is laid under it" in said
    pixels = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    assert lkdn_image(tmp_path / "clear.png", tmp_path / "white.bmp") == 0
    assert (np.asarray(Image.open(tmp_path / "white.bmp")) == 255).all()


def test_cmyk_becomes_srgb_with_a_warning(
    tmp_path: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("CMYK", (9, 7), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    assert "CMYK is turned into sRGB" in capsys.readouterr().err
    assert Image.open(tmp_path / "b.png").convert("RGB").getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_parts_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch, untrained: Path, channels: int
) -> None:
    upscaler = Upscaler(scale=2, weights=untrained, device="cpu")
    picture = Still(noise(channels, size=(70, 75)))
    (whole,) = stills.enlarge_stills([picture], upscaler, deep=True)
    monkeypatch.setattr(parts, "PART_PIXELS", 1)
    (pieces,) = stills.enlarge_stills([picture], upscaler, deep=True)
    assert np.array_equal(whole.pixels, pieces.pixels)


# Folders


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
    tree: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
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


def test_recursion_and_format(tree: Path, lkdn_image: Command) -> None:
    assert lkdn_image("in/", "out", "--no-recursion", "--format", "webp") == 0
    assert files(tree / "out") == {"a.webp", "e.webp"}
    assert lkdn_image("in/a.png", "in/e.gif", "two") == 0
    assert files(tree / "two") == {"a.png", "e.png"}


def test_names_never_meet(tree: Path, lkdn_image: Command) -> None:
    Image.fromarray(noise(1)[..., 0]).save(tree / "in/A.bmp")
    Image.fromarray(noise(1)[..., 0]).save(tree / "in/e.png")
    assert lkdn_image("in", "out", "--format", "png", "--no-recursion") == 0
    # a.png would be taken for A.png where names have no case.
    assert files(tree / "out") == {"a.png", "A.bmp.png", "e.png", "e.gif.png"}
    assert lkdn_image("in/a.png", "in/a.png", "same") == 0
    assert files(tree / "same") == {"a.png"}


def test_the_output_folder_may_lie_inside(tree: Path, lkdn_image: Command) -> None:
    assert lkdn_image("in", "in/out") == 0
    assert lkdn_image("in", "in/out", "-y") == 0
    assert files(tree / "in/out") == {"a.png", "b/a.jpg", "b/c.webp", "b/deep/d.BMP", "e.png"}


def test_links_do_no_harm(
    tree: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
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


def test_failures_do_not_stop_the_rest(
    tree: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
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
    said = capsys.readouterr().err
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
        ("in/a.png in/e.gif new.png", 0, "new.png: 2 enlarged"),
        ("in/a.png out.gif", 2, "output: a name ending in .png, .jpg"),
        ("in/a.png out", 2, "output: a name ending in .png, .jpg"),
        ("in/a.png in", 2, "output: in/a.png would overwrite the input in/a.png"),
        ("in/a.png out.png --format jpg", 2, "format: is for folders"),
        ("in/a.png out.png --quality 0", 2, "quality: 1 to 100 is accepted, got 0"),
        ("in/a.png out.png --max-megapixels 0.0001", 1, "13x11 are more than 0.0001 million"),
        ("in/a.png", 2, "the following arguments are required: OUT"),
        ("none.png out.png", 1, "none.png: no such file"),
        ("in/notes.txt out.png", 1, "in/notes.txt: is not a PNG"),
        ("in/a.png in/notes.txt/x.png", 1, "can't be written"),
        ("empty out", 1, "no pictures (.png"),
    ],
)
def test_one_line_and_the_code(
    *,
    tree: Path,
    lkdn_image: Command,
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    (tree / "empty").mkdir()
    before = files(tree)
    assert lkdn_image(*arguments.split()) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    if code:
        (line,) = err.splitlines()
        assert line.startswith("lkdn-image: ")
        assert files(tree) == before


def test_a_bomb_is_not_unpacked(tmp_path: Path, lkdn_image: Command) -> None:
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
    tmp_path: Path, lkdn_image: Command, capsys: pytest.CaptureFixture[str]
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
    from lkdn_media.picture_batch import enlarge_files
    from lkdn_media.picture_jobs import plan_jobs

    (tmp_path / "in").mkdir()
    sizes = [(8, 9)] * 3 + [(7, 9)] + [(8, 9)] * 2
    for i, size in enumerate(sizes):
        Image.fromarray(noise(3, size=size) ^ np.uint8(i)).save(tmp_path / f"in/{i}.png")
    jobs, _ = plan_jobs([tmp_path / "in"], tmp_path / "out")
    upscaler = Counting(scale=2, weights=nearest[2], device="cpu", batch_size=2)
    outcomes = list(enlarge_files(jobs, upscaler, quality=Quality()))
    assert runs == [2, 1, 1, 2]
    assert [o.job.source.name for o in outcomes] == [f"{i}.png" for i in range(6)]
    for i, size in enumerate(sizes):
        new = np.asarray(Image.open(tmp_path / f"out/{i}.png"))
        assert np.array_equal(new, twice(noise(3, size=size) ^ np.uint8(i)))


def test_damaged_exif_costs_only_itself(tmp_path: Path, lkdn_image: Command) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(3)).save(buffer, "JPEG", exif=b"Exif\0\0" + bytes(range(90)))
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert lkdn_image(tmp_path / "a.jpg", tmp_path / "b.jpg") == 0
