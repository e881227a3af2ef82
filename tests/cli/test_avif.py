"""``lkdn-image``: AVIF, read and written, where Pillow has it."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from lkdn_media.avif import AVIF, avif_bits, avif_cicp
from lkdn_media.images import read_still
from lkdn_media.priority import ordinary_priority
from tests.cli.media import ImageCommand
from tests.cli.noise import Pixels, noise, twice

pytestmark = pytest.mark.skipif(not AVIF, reason="the installed Pillow has no AVIF")

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BEST: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}


def near(new: Pixels, old: Pixels) -> bool:
    """As near as the best quality comes."""
    return new.shape == old.shape and np.abs(new.astype(int) - old).max() <= 4


@pytest.mark.parametrize("suffix", [".avif", ".png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_read_and_written(
    tmp_path: Path, lkdn_image: ImageCommand, channels: int, suffix: str
) -> None:
    pixels = noise(channels)
    if channels == 4:
        pixels[..., -1] |= 1  # no colour is hidden
    here, there = tmp_path / f"a{suffix}", tmp_path / "b.avif"
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    picture.save(here, **(BEST if suffix == ".avif" and channels > 1 else {"quality": 100}))
    assert lkdn_image(here, there, "--quality", 100) == 0
    with Image.open(there) as new:
        assert (new.format, new.mode) == ("AVIF", {1: "L", 3: "RGB", 4: "RGBA"}[channels])
        found = np.asarray(new)
    assert near(found.reshape(22, 26, -1), twice(read_still(here).pixels))
    assert near(read_still(here).pixels, pixels)
    assert lkdn_image(there, tmp_path / "c.png") == 0
    assert np.array_equal(read_still(tmp_path / "c.png").pixels, twice(read_still(there).pixels))


def test_quality_counts(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    sizes = []
    Image.fromarray(noise(3, size=(40, 50))).save(tmp_path / "a.png")
    for quality in (20, 95):
        target = tmp_path / f"{quality}.avif"
        assert lkdn_image(tmp_path / "a.png", target, "--quality", quality) == 0
        sizes.append(target.stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("source", "target"), [(".avif", ".png"), (".jpg", ".avif")])
def test_labels_travel(
    tmp_path: Path, lkdn_image: ImageCommand, source: str, target: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = orientation, "Maker", {0xA002: 13, 0xA003: 11}
    here, there = tmp_path / f"a{source}", tmp_path / f"b{target}"
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    Image.fromarray(noise(3)).save(here, exif=exif.tobytes(), icc_profile=SRGB, xmp=packet)
    assert lkdn_image(here, there) == 0
    new = read_still(there)
    assert (new.width, new.height, new.labels.orientation) == (26, 22, orientation)
    assert (new.labels.icc, new.labels.xmp) == (SRGB, packet)
    assert (new.labels.exif[0x010F], new.labels.exif[0x8769][0xA002]) == ("Maker", 26)


def test_gray_with_alpha_becomes_colour(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    gray = SRGB[:16] + b"GRAY" + SRGB[20:]
    Image.fromarray(noise(2) | 1).save(tmp_path / "a.png", icc_profile=gray, dpi=(300, 300))
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.avif") == 0
    said = capsys.readouterr().err
    assert "AVIF can't hold the resolution, a gray ICC profile" in said
    with Image.open(tmp_path / "b.avif") as new:
        assert (new.mode, "icc_profile" in new.info) == ("RGBA", False)


def test_16_bits_become_8_which_is_said(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise(1, np.uint16)[..., 0]).save(tmp_path / "a.png")
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.avif") == 0
    assert "AVIF has 8 bits, not 16" in capsys.readouterr().err


def test_10_bits_and_colours_without_a_profile(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    write_deep(tmp_path / "a.avif")
    assert lkdn_image(tmp_path / "a.avif", tmp_path / "b.png") == 0
    assert "AVIF of 10 bits is read with 8" in capsys.readouterr().err
    assert b"cICP" + bytes((9, 16, 0, 1)) in (tmp_path / "b.png").read_bytes()
    assert lkdn_image(tmp_path / "a.avif", tmp_path / "b.jpg") == 0
    assert "JPEG can't hold the cICP colour space" in capsys.readouterr().err


def write_deep(path: Path) -> None:
    """One frame of BT.2020 and PQ in 10 bits."""
    try:
        codec = av.Codec("libsvtav1", "w").name
    except ValueError:
        pytest.skip("this PyAV has no encoder of AV1")
    with ordinary_priority(), av.open(str(path), "w", format="avif") as out:
        stream = out.add_stream(codec, rate=1, width=64, height=64)
        stream.pix_fmt, stream.time_base = "yuv420p10le", Fraction(1)
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9
        context.color_range = 2
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


@pytest.mark.parametrize(
    ("fields", "bits"), [(b"\x81\0\0", 8), (b"\x81\0\x40", 10), (b"\x81\0\x60", 12), (b"\x81", 8)]
)
def test_bits_of_a_file(fields: bytes, bits: int) -> None:
    pixels = box(b"mdat", b"av1C\x81\0\x60")
    assert avif_bits(pixels + box(b"meta", box(b"av1C", fields))) == bits


@pytest.mark.parametrize(
    ("numbers", "content"),
    [
        ((1, 13), b""),
        ((2, 2), b""),
        ((12, 13), bytes((12, 13, 0, 1))),
        ((9, 18), bytes((9, 18, 0, 1))),
        ((300, 13), b""),
    ],
)
def test_colours_of_a_file(numbers: tuple[int, int], content: bytes) -> None:
    colours = box(b"colr", b"nclx" + struct.pack(">3HB", *numbers, 1, 128))
    assert avif_cicp(box(b"meta", colours)) == content
    assert avif_cicp(box(b"meta", colours[:14])) == b""
    assert avif_cicp(b"\0\0\0\0meta" + colours) == b""


def test_animations_are_refused(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Image.fromarray(noise(3))
    first.save(tmp_path / "a.avif", save_all=True, append_images=[Image.fromarray(noise(4))])
    assert lkdn_image(tmp_path / "a.avif", tmp_path / "b.png") == 1
    said = f"lkdn-image: {tmp_path / 'a.avif'}: is an animation of 2 pictures\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, -40)])
def test_damaged_files(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str], damage: slice
) -> None:
    Image.fromarray(noise(3, size=(40, 50))).save(tmp_path / "a.avif")
    (tmp_path / "a.avif").write_bytes((tmp_path / "a.avif").read_bytes()[damage])
    assert lkdn_image(tmp_path / "a.avif", tmp_path / "b.png") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line


def test_more_pixels_than_readers_take(
    tmp_path: Path,
    lkdn_image: ImageCommand,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lkdn_media.image_writers._AVIF_PIXELS", 500)
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    assert lkdn_image(tmp_path / "a.png", tmp_path / "b.avif") == 1
    assert "AVIF of more than" in capsys.readouterr().err
