"""``lkdn-image``: labels that the new file can't hold, which is said in one line."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import read_still
from tests.cli.media import ImageCommand
from tests.cli.noise import noise

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]
LONG = 70_000


@pytest.fixture
def said(tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that enlarges ``source`` into ``target`` and returns the warnings."""

    def enlarge(source: str, target: str) -> list[str]:
        assert lkdn_image(tmp_path / source, tmp_path / target, "-q") == 0
        start = f"lkdn-image: warning: {tmp_path / source}: "
        return [line.removeprefix(start) for line in capsys.readouterr().err.splitlines()]

    return enlarge


def save(path: Path, channels: int = 3, **labels: Any) -> None:
    pixels = noise(channels)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path, **labels)


def texts(**chunks: bytes) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, data in chunks.items():
        info.add(name.encode(), data)
    return info


@pytest.mark.parametrize("dpi", [IFDRational(0, 0), IFDRational(1, 0), IFDRational(2**32 - 1, 1)])
@pytest.mark.parametrize("target", ["b.png", "b.jpg", "b.tif"])
def test_an_impossible_resolution_costs_only_itself(
    tmp_path: Path, said: Any, dpi: IFDRational, target: str
) -> None:
    save(tmp_path / "a.tif", dpi=(dpi, dpi))
    assert said("a.tif", target) == []
    # Pillow makes 72 up for a JPEG where EXIF has no number.
    assert read_still(tmp_path / target).labels.dpi in (None, (72, 72))


@pytest.mark.parametrize("source", ["a.tif", "a.jpg"])
@pytest.mark.parametrize("target", ["b.png", "b.jpg", "b.tif", "b.webp"])
def test_a_picture_without_a_resolution_gets_none(
    tmp_path: Path, said: Any, source: str, target: str
) -> None:
    """Pillow says 1 dpi of such a TIFF, and 72 of a JPEG with EXIF."""
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    save(tmp_path / source, exif=exif.tobytes())
    assert said(source, target) == []
    assert read_still(tmp_path / target).labels.dpi is None


def test_exif_that_is_too_long_leaves_the_orientation(tmp_path: Path, said: Any) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * LONG
    save(tmp_path / "a.png", exif=exif.tobytes())
    assert said("a.png", "b.jpg") == ["JPEG can't hold EXIF of 70 kB"]
    assert dict(Image.open(tmp_path / "b.jpg").getexif()) == {0x0112: 6}
    assert said("a.png", "b.webp") == []
    assert len(Image.open(tmp_path / "b.webp").getexif()[0x010E]) == LONG


def test_exif_that_can_not_be_written_leaves_the_orientation(tmp_path: Path, said: Any) -> None:
    unit, orientation = (struct.pack("<HHII", tag, 4, 1, n) for tag, n in ((296, LONG), (274, 6)))
    exif = b"II*\0\x08\0\0\0\2\0" + orientation + unit + bytes(4)
    save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    assert said("a.jpg", "b.jpg") == ["JPEG can't hold damaged EXIF"]
    assert dict(Image.open(tmp_path / "b.jpg").getexif()) == {0x0112: 6}


def test_xmp_and_comments_that_are_too_long(tmp_path: Path, said: Any) -> None:
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * LONG
    save(tmp_path / "a.png", pnginfo=texts(iTXt=xmp))
    assert said("a.png", "b.jpg") == ["JPEG can't hold XMP of 70 kB"]
    assert said("a.png", "b.webp") == []
    save(tmp_path / "a.gif", 1, comment=b"c" * LONG)
    assert said("a.gif", "c.jpg") == ["JPEG can't hold the comment of 70 kB"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("b.png", []),
        ("b.jpg", ["JPEG can't hold the cICP colour space, the PNG texts"]),
        ("b.tif", ["TIFF can't hold the cICP colour space, the PNG texts"]),
        ("b.webp", ["WebP can't hold the resolution, the cICP colour space, the PNG texts"]),
    ],
)
def test_chunks_of_a_png(tmp_path: Path, said: Any, target: str, message: list[str]) -> None:
    chunks = texts(cICP=bytes((9, 16, 0, 1)), tEXt=b"parameters\0steps: 20")
    save(tmp_path / "a.png", pnginfo=chunks, dpi=(300, 300))
    assert said("a.png", target) == message


SRGB_LIKE = {"gAMA": (45450,), "cHRM": (31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)}
BT2020 = (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)


@pytest.mark.parametrize(
    ("numbers", "others", "said_of_it"),
    [
        ({"gAMA": (100000,), "cHRM": BT2020}, {}, ["the gamma, the primaries"]),
        ({"gAMA": (100000,)}, {}, ["the gamma"]),
        (SRGB_LIKE | {"cHRM": BT2020}, {}, ["the primaries"]),
        (SRGB_LIKE, {}, []),
        ({"gAMA": (100000, 1)}, {}, []),  # nobody can read it
        ({"gAMA": (100000,)}, {"sRGB": b"\0"}, []),
        ({"gAMA": (100000,)}, {"cICP": bytes((9, 16, 0, 1))}, ["the cICP colour space"]),
    ],
)
def test_gamma_and_primaries_of_a_png(
    tmp_path: Path,
    said: Any,
    numbers: dict[str, tuple[int, ...]],
    others: dict[str, bytes],
    said_of_it: list[str],
) -> None:
    packed = {name: struct.pack(f">{len(held)}I", *held) for name, held in numbers.items()}
    save(tmp_path / "a.png", pnginfo=texts(**packed, **others))
    for name in ("JPEG", "WebP", "TIFF", "BMP"):
        target = {"JPEG": "b.jpg", "TIFF": "b.tif"}.get(name, f"b.{name.lower()}")
        assert said("a.png", target) == [f"{name} can't hold {words}" for words in said_of_it]
    assert said("a.png", "b.png") == []
    assert all(held in (tmp_path / "b.png").read_bytes() for held in packed.values())


def test_gamma_beside_a_profile_does_not_count(tmp_path: Path, said: Any) -> None:
    save(tmp_path / "a.png", pnginfo=texts(gAMA=struct.pack(">I", 100000)), icc_profile=SRGB)
    assert said("a.png", "b.jpg") == []
    assert said("a.png", "b.bmp") == ["BMP can't hold the ICC profile"]


@pytest.mark.parametrize("target", ["b.png", "b.jpg", "b.webp", "b.tif"])
@pytest.mark.parametrize("source", ["a.jpg", "a.tif"])
def test_interoperability_of_a_camera(tmp_path: Path, said: Any, source: str, target: str) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x829A: 0.5, 0xA005: {1: "R98", 2: b"0100"}, 0x927C: b"a note of the maker"}
    save(tmp_path / "a.jpg", exif=exif.tobytes(), dpi=(300, 300))
    said("a.jpg", "a.tif")  # Pillow's own TIFF would have a pointer to nothing
    said(source, target)
    with Image.open(tmp_path / target) as new:
        found = new.getexif()
        camera = found.get_ifd(0x8769)
        assert (float(camera[0x829A]), camera[0x927C]) == (0.5, b"a note of the maker")
        assert found.get_ifd(0xA005) == {1: "R98", 2: b"0100"}


def test_a_pointer_to_no_interoperability_is_left_out(tmp_path: Path, said: Any) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x829A: 0.5, 0xA005: 9_999}
    save(tmp_path / "a.jpg", exif=exif.tobytes(), dpi=(300, 300))
    assert said("a.jpg", "b.tif") == said("a.jpg", "b.png") == []
    for target in ("b.tif", "b.png"):
        with Image.open(tmp_path / target) as new:
            assert dict(new.getexif().get_ifd(0x8769)) == {0x829A: 0.5}


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("Grüße aus Köln".encode(), "Grüße aus Köln"),
        ("Grüße aus Köln".encode("latin-1"), "Grüße aus Köln"),
        (b"ends\0", "ends"),
    ],
)
def test_a_comment_of_a_jpeg_is_text_in_a_png(
    tmp_path: Path, said: Any, comment: bytes, text: str
) -> None:
    save(tmp_path / "a.jpg", comment=comment)
    assert said("a.jpg", "b.png") == []
    with Image.open(tmp_path / "b.png") as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.text == {"Comment": text}


def test_comment_and_resolution_of_a_jpeg(tmp_path: Path, said: Any) -> None:
    save(tmp_path / "a.jpg", comment=b"a comment", dpi=(300, 300))
    assert said("a.jpg", "b.jpg") == said("a.jpg", "b.png") == []
    assert said("a.jpg", "b.tif") == ["TIFF can't hold the comment"]
    assert said("a.jpg", "b.webp") == ["WebP can't hold the comment, the resolution"]
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    save(tmp_path / "c.jpg", exif=exif.tobytes(), dpi=(300, 300))
    assert said("c.jpg", "c.webp") == []  # EXIF says it there


@pytest.mark.parametrize("target", ["b.png", "b.jpg", "b.tif"])
def test_a_gray_profile_stays_where_gray_does(tmp_path: Path, said: Any, target: str) -> None:
    save(tmp_path / "a.png", 1, icc_profile=GRAY)
    assert said("a.png", target) == []
    assert Image.open(tmp_path / target).info["icc_profile"] == GRAY


def test_a_gray_profile_does_not_get_into_rgb(tmp_path: Path, said: Any) -> None:
    save(tmp_path / "a.png", 1, icc_profile=GRAY)
    assert said("a.png", "b.webp") == ["WebP can't hold a gray ICC profile"]
    assert "icc_profile" not in Image.open(tmp_path / "b.webp").info
    deep = read_still(tmp_path / "a.png")
    deep = replace(deep, pixels=noise(2, np.uint16) | 1)
    (tmp_path / "deep.png").write_bytes(WRITERS[".png"].encode(deep, Quality()))
    assert said("deep.png", "b.tif") == ["TIFF can't hold a gray ICC profile"]
    assert "icc_profile" not in Image.open(tmp_path / "b.tif").info


@pytest.mark.parametrize(
    ("channels", "profile", "kind"), [(1, SRGB, "colour"), (3, GRAY, "gray")], ids=["gray", "rgb"]
)
def test_a_profile_of_the_wrong_kind_is_left_out(
    tmp_path: Path, said: Any, channels: int, profile: bytes, kind: str
) -> None:
    save(tmp_path / "a.png", channels, icc_profile=profile)
    assert said("a.png", "b.png") == [f"the ICC profile is left out, it is for {kind} pictures"]
    assert "icc_profile" not in Image.open(tmp_path / "b.png").info
