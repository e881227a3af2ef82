"""``lkdn-image``: pixels, depth, transparency and labels of the new file."""

import io
import os
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_cli.image import main
from lkdn_core import Upscaler
from lkdn_core.quantize import quantize
from lkdn_media import parts, stills
from lkdn_media.deep_pictures import deep_png
from lkdn_media.deep_png import pack_deep_png
from lkdn_media.image_writers import WRITERS
from lkdn_media.images import Still, read_still
from tests.cli.media import ImageCommand
from tests.cli.noise import Pixels, noise, twice

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = (".png", ".tif", ".bmp")


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
    tmp_path: Path, lkdn_image: ImageCommand, channels: int, dtype: type, suffix: str
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


def test_positions_reach_the_engine(tmp_path: Path) -> None:
    pixels = noise(3, np.uint8)
    here = write(tmp_path / "a.png", pixels)
    rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    seen = []
    for tta in (1, 4):
        there = tmp_path / f"{tta}.png"
        options = ["--scale", "2", "--device", "cpu", "--tta", str(tta)]
        assert main([str(here), str(there), *options]) == 0
        larger = quantize(Upscaler(scale=2, tta=tta, device="cpu").up(rgb)[0] * 255, bits=8)
        seen.append(by_ffmpeg(there))
        assert np.array_equal(seen[-1], larger.permute(1, 2, 0).numpy())
    assert not np.array_equal(*seen)


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
def test_modes_of_pillow(tmp_path: Path, lkdn_image: ImageCommand, mode: str, suffix: str) -> None:
    picture = Image.fromarray(noise(3)).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    assert lkdn_image(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}") == 0
    with Image.open(tmp_path / f"b{suffix}") as new:
        expected = "RGB" if mode in ("RGB", "P") else "L"
        assert new.mode == expected
        assert np.array_equal(np.asarray(new), twice(np.asarray(picture.convert(expected))))


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_close(tmp_path: Path, lkdn_image: ImageCommand, suffix: str) -> None:
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


def test_webp_without_loss(tmp_path: Path, lkdn_image: ImageCommand) -> None:
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
def test_labels_travel(tmp_path: Path, lkdn_image: ImageCommand, source: str, target: str) -> None:
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


def test_turned_tiff_of_16_bits(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    pixels = noise(1, np.uint16)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.tif", **labelled(8))
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    assert np.abs(by_ffmpeg(tmp_path / "b.png").astype(int) - twice(pixels)).max() <= 2
    assert Image.open(tmp_path / "b.png").getexif()[0x0112] == 8


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 0), (16, 1)])
def test_deep_gray_of_a_tiff_fills_the_range_from_black_at_0(
    tmp_path: Path, lkdn_image: ImageCommand, bits: int, photometric: int
) -> None:
    stored, white = noise(1, np.uint16)[:, :12, 0] >> (16 - bits), 2**bits - 1
    rows = stored.astype("<u2").tobytes()
    if bits == 12:  # two samples in three bytes
        pairs = stored.reshape(-1, 2).tolist()
        rows = b"".join((a << 12 | b).to_bytes(3, "big") for a, b in pairs)
    directory, buffer = ImageFileDirectory_v2(), io.BytesIO()
    directory[256], directory[257], directory[258] = 12, 11, bits
    directory[262], directory[273], directory[279] = photometric, 0, len(rows)
    directory.save(buffer)
    (tmp_path / "a.tif").write_bytes(buffer.getvalue() + rows)
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    black_at_0 = stored if photometric else white - stored
    expected = np.round(black_at_0[..., None] * (65535 / white))
    assert np.abs(by_ffmpeg(tmp_path / "b.png") - twice(expected)).max() <= 2


def test_bmp_is_turned_since_it_has_no_orientation(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = noise(3)
    Image.fromarray(pixels).save(tmp_path / "a.png", **labelled(6))
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.bmp") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.bmp")), np.rot90(twice(pixels), -1))
    assert "BMP can't hold the ICC profile, EXIF" in capsys.readouterr().err


def test_the_resolution_of_a_turned_bmp(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(3)).save(tmp_path / "a.tif", exif=exif, dpi=(300, 150))
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.bmp") == 0
    with Image.open(tmp_path / "b.bmp") as new:
        assert new.info["dpi"] == pytest.approx((150, 300), abs=0.1)


@pytest.mark.parametrize("quality", ["94", "100"])
def test_noise_becomes_a_jpeg(tmp_path: Path, lkdn_image: ImageCommand, quality: str) -> None:
    """It takes more bytes than pixels."""
    pixels = np.random.default_rng(5).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    there = tmp_path / "b.jpg"
    assert lkdn_image(tmp_path / "a.png", there, "--quality", quality) == 0
    assert there.stat().st_size > 600 * 400
    assert read_still(there).pixels.shape == (400, 600, 3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 2), (1, 9, 3), (700, 400, 3), (5, 6, 4)])
def test_deep_pngs_of_all_sizes(shape: tuple[int, int, int]) -> None:
    """Smooth pictures and noise, so that all filters are taken."""
    ramps = np.linspace(0, 60_000, shape[0] * shape[1]).reshape(shape[:2])[..., None]
    random = np.random.default_rng(5)
    pixels = (ramps + random.integers(0, 5000, shape) * random.integers(0, 2, shape)).astype("u2")
    data = pack_deep_png(pixels)
    assert np.array_equal(deep_png(data).reshape(shape), pixels)
    with Image.open(io.BytesIO(data)) as other:
        other.load()  # checks the sums


def test_large_profiles_of_a_png(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    """Those of scanners and printers are above one megabyte."""
    profile = SRGB + np.random.default_rng(5).bytes(1_500_000)
    Image.fromarray(noise(3)).save(tmp_path / "a.png", icc_profile=profile)
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.png") == 0
    assert read_still(tmp_path / "b.png").labels.icc == profile


def test_texts_and_colour_chunks_of_a_png_stay(tmp_path: Path, lkdn_image: ImageCommand) -> None:
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


def test_transparent_palette_and_gray(tmp_path: Path, lkdn_image: ImageCommand) -> None:
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
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
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
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("CMYK", (9, 7), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    assert "CMYK is turned into sRGB" in capsys.readouterr().err
    assert Image.open(tmp_path / "b.png").convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def test_lab_becomes_srgb_with_a_warning(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (9, 7), (200, 90, 40)).convert("LAB").save(tmp_path / "a.tif")
    assert Image.open(tmp_path / "a.tif").mode == "LAB"
    assert lkdn_image(tmp_path / "a.tif", tmp_path / "b.png") == 0
    assert "Lab is turned into sRGB" in capsys.readouterr().err
    result = Image.open(tmp_path / "b.png")
    assert "icc_profile" not in result.info
    assert np.abs(np.asarray(result).astype(int) - (200, 90, 40)).max() <= 2


@pytest.mark.parametrize("space", [b"CMYK", b"Lab ", b"GRAY"])
def test_a_profile_of_another_space_is_left_out(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str], space: bytes
) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space
    Image.new("RGB", (9, 7)).save(tmp_path / "a.png", icc_profile=bytes(profile))
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.png") == 0
    name = space.decode().strip().replace("GRAY", "gray")
    assert f"the ICC profile is left out, it is for {name} pictures" in capsys.readouterr().err
    assert "icc_profile" not in Image.open(tmp_path / "b.png").info


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_picture(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.png") == 1
    assert "a.png: is not a file" in capsys.readouterr().err


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


def test_damaged_exif_costs_only_itself(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(3)).save(buffer, "JPEG", exif=b"Exif\0\0" + bytes(range(90)))
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert lkdn_image(tmp_path / "a.jpg", tmp_path / "b.jpg") == 0
