"""``lkdn-image``: labels that are kept to the byte, and what else lies in a picture's file."""

import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import ExifTags, Image, IptcImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import LKDNError
from lkdn_media.images import read_still
from lkdn_media.jpeg import iptc_segment
from lkdn_media.png import PNG_SIGNATURE, png_chunk, png_chunks
from tests.cli.media import ImageCommand
from tests.cli.noise import noise

ARTIST: Final = "Jörg Müller".encode()
COMMENT: Final = b"UNICODE\0" + "steps: 20".encode("utf-16-le")
#: IPTC: a caption of ten letters, as record 2, field 120.
CAPTION: Final = b"\x1c\x02\x78" + struct.pack(">H", 10) + b"My caption"
XMP: Final = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
UNKNOWN: Final = b"Exif\0\0nothing that is known"


@pytest.fixture
def said(tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that enlarges ``source`` into ``target`` and returns the warnings."""

    def enlarge(source: str, target: str) -> list[str]:
        capsys.readouterr()
        assert lkdn_image(tmp_path / source, tmp_path / target, "-q", "-y") == 0
        start = f"lkdn-image: warning: {tmp_path / source}: "
        return [line.removeprefix(start) for line in capsys.readouterr().err.splitlines()]

    return enlarge


def save(path: Path, **options: Any) -> None:
    Image.fromarray(noise(3)).save(path, **options)


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = ARTIST
    exif[ExifTags.IFD.Exif] = {0x9286: COMMENT, 0x9101: b"\1\2\3\0", 0xA301: b"\1"}
    exif[ExifTags.IFD.GPSInfo] = {27: b"ASCII\0\0\0GPS"}
    return exif


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.webp", "b.tif"])
def test_exif_keeps_the_bytes_and_types_of_its_fields(
    tmp_path: Path, said: Any, source: str, target: str
) -> None:
    save(tmp_path / source, exif=camera_exif())
    assert said(source, target) == []
    assert said(target, "c.jpg") == []
    for name in (target, "c.jpg"):
        data = (tmp_path / name).read_bytes()
        assert ARTIST in data
        assert COMMENT in data
        order = "<" if target == "b.tif" else ">"
        undefined = [(0x9286, len(COMMENT)), (0x9101, 4), (0xA301, 1), (27, 11)]
        heads = [struct.pack(f"{order}HHI", tag, 7, count) for tag, count in undefined]
        assert [head for head in heads if head not in data] == []


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_an_orientation_that_only_xmp_tells_stays_there(
    tmp_path: Path, said: Any, name: str
) -> None:
    extra: dict[str, Any] = {"xmp": XMP}
    if name == "a.png":
        from PIL.PngImagePlugin import PngInfo

        extra = {"pnginfo": PngInfo()}
        extra["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    save(tmp_path / name, **extra)
    assert said(name, "b.jpg") == []
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["xmp"] == XMP
        assert "exif" not in image.info


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("exif", [UNKNOWN, bytes(9), b"II*\0", b""])
def test_damaged_exif_of_a_png_costs_only_itself(
    tmp_path: Path, said: Any, bits: int, exif: bytes
) -> None:
    save(tmp_path / "a.png")
    if bits == 16:
        assert said("a.png", "deep.tif") == []
        save_deep(tmp_path / "a.png")
    parts = [chunk for _, chunk in png_chunks((tmp_path / "a.png").read_bytes())]
    broken = png_chunk(b"iCCP", b"icc\0\0not packed") if bits == 16 else b""
    whole = (PNG_SIGNATURE, parts[0], png_chunk(b"eXIf", exif), broken, *parts[1:])
    (tmp_path / "a.png").write_bytes(b"".join(whole))
    assert said("a.png", "b.png") == []
    assert read_still(tmp_path / "b.png").bits == bits


def save_deep(path: Path) -> None:
    pixels = (noise(3).astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    height, width, _ = pixels.shape
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path.write_bytes(PNG_SIGNATURE + header + body)


def test_damaged_exif_of_a_webp_costs_only_itself(tmp_path: Path, said: Any) -> None:
    save(tmp_path / "a.webp", exif=UNKNOWN)
    assert said("a.webp", "b.png") == []


def test_iptc_is_kept_or_named(tmp_path: Path, said: Any) -> None:
    save(tmp_path / "a.jpg", extra=iptc_segment(CAPTION))
    for source, target in (("a.jpg", "b.jpg"), ("b.jpg", "c.tif"), ("c.tif", "d.jpg")):
        assert said(source, target) == []
        with Image.open(tmp_path / target) as image:
            assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"My caption"}
    for target, name in (("e.png", "PNG"), ("e.webp", "WebP")):
        assert said("c.tif", target) == [f"{name} can't hold IPTC"]


def test_xmp_in_two_parts(tmp_path: Path, said: Any) -> None:
    second = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
    segment = b"\xff\xe1" + struct.pack(">H", len(second) + 2) + second
    save(tmp_path / "a.jpg", xmp=XMP, extra=segment)
    assert said("a.jpg", "b.png") == ["the second part of the XMP is left out"]


@pytest.mark.parametrize("xmp", [b"", b'<x hdrgm:Version="1.0"/>', b'<x GCamera:MotionPhoto="1"/>'])
def test_what_lies_behind_a_jpeg_is_named_and_not_measured(
    tmp_path: Path, said: Any, xmp: bytes
) -> None:
    save(tmp_path / "a.jpg", xmp=xmp, quality=60)
    alone = read_still(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\xff\xd8" + bytes(40_000))
    still = read_still(tmp_path / "a.jpg")
    assert still.lossy_bytes == alone.lossy_bytes
    assert said("a.jpg", "b.jpg") == [
        "40 kB behind the picture are left out"
        + ", a gain map or a video, and the XMP that tells of it" * bool(xmp)
    ]
    assert read_still(tmp_path / "b.jpg").labels.xmp == b""


def test_progressive_jpegs_are_measured_whole(tmp_path: Path) -> None:
    for name, options in (
        ("a", {}),
        ("b", {"progressive": True}),
        ("c", {"restart_marker_rows": 1}),
    ):
        save(tmp_path / f"{name}.jpg", xmp=XMP, comment=b"words", **options)
    sizes = [read_still(tmp_path / f"{name}.jpg").lossy_bytes for name in "abc"]
    labels = 2 + len(XMP) + 50 + 2 + 7 + 18  # the start, XMP, the comment, JFIF
    for name, size in zip("abc", sizes, strict=True):
        assert (tmp_path / f"{name}.jpg").stat().st_size - size == pytest.approx(labels, abs=40)


def test_a_raw_file_of_a_camera_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    tags = ImageFileDirectory_v2()
    tags[254] = 1
    save(tmp_path / "a.tif", tiffinfo=tags)
    with pytest.raises(LKDNError, match="begins with a thumbnail"):
        read_still(tmp_path / "a.tif")


def test_xmp_of_a_gain_map_goes_with_it(tmp_path: Path, said: Any) -> None:
    """Also where Pillow knows the file for one of several pictures."""
    first, second = (Image.fromarray(noise(3)) for _ in range(2))
    xmp = b"<rdf:li><hdrgm:Version>1.0</hdrgm:Version></rdf:li>"
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second], xmp=xmp)
    lost = said("a.mpo", "b.jpg")
    assert lost[0].startswith("only the first of 2 pictures is enlarged")
    assert "a gain map or a video, and the XMP that tells of it" in str(lost)
    assert read_still(tmp_path / "b.jpg").labels.xmp == b""


@pytest.mark.parametrize("description", ['{"shape": [48, 64, 3]}', "ImageJ=1.54f\nimages=3\n"])
def test_tags_that_hold_for_the_old_size(tmp_path: Path, said: Any, description: str) -> None:
    tags = ImageFileDirectory_v2()
    tags[33550] = (10.0, 10.0, 0.0)
    tags.tagtype[33550] = 12
    tags[270] = description
    save(tmp_path / "a.tif", tiffinfo=tags)
    warning = "the place on a map is left out, it holds for the old size"
    assert said("a.tif", "b.tif") == [warning]
    assert not {33550, 270} & set(read_still(tmp_path / "b.tif").labels.exif)


@pytest.mark.parametrize("name", ["o.jpg", "o.avif"])
def test_lossless_is_refused_where_it_is_not(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    save(tmp_path / "a.png")
    assert lkdn_image(tmp_path / "a.png", tmp_path / name, "--lossless") == 2
    assert "lossless: WebP, PNG, TIFF and BMP are accepted" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_other_endings_of_jpegs(tmp_path: Path, lkdn_image: ImageCommand) -> None:
    (tmp_path / "in").mkdir()
    for ending in ("jfif", "JPE"):
        save(tmp_path / "in" / f"{ending}.{ending}", format="JPEG")
    assert lkdn_image(tmp_path / "in", tmp_path / "out", "-q") == 0
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            assert image.format == "JPEG"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"jfif.jfif", "JPE.JPE"}
