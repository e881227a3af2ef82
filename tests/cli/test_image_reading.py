"""Reading pictures: TIFFs of 16 bits, odd transparency, damaged files."""

import os
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lkdn_core.errors import FormatError, LKDNError
from lkdn_media import images
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.images import Still, read_still
from lkdn_media.probe import probe
from lkdn_media.sequences import sequence_opener
from tests.cli.media import ImageCommand, slashed
from tests.cli.noise import Pixels, noise

RGB, CMYK = 2, 5
RAW, DEFLATE = 1, 8
ROWS = 4  # of a strip
#: Passes of an interlaced PNG: the first column and row, and the steps between them.
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
#: Tags of a TIFF.
BITS, STRIP_OFFSETS, ROWS_PER_STRIP, EXTRA = 258, 273, 278, 338


def tiff(
    pixels: Pixels,
    photometric: int = RGB,
    *,
    packing: int = RAW,
    planes: bool = False,
    order: str = "<",
    tags: dict[int, Any] | None = None,
    strips: list[bytes] | None = None,
) -> bytes:
    """A TIFF of ``pixels`` (H, W, C) in strips of `ROWS` rows.

    ``tags`` replace its own, ``None`` leaves one out. ``strips`` are written instead of those of
    ``pixels``, under their number and lengths.
    """
    height, width, channels = pixels.shape
    layers = np.split(pixels, channels, 2) if planes else [pixels]
    if strips is None:
        rows = [layer[top : top + ROWS] for layer in layers for top in range(0, height, ROWS)]
        strips = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in rows]
        strips = [zlib.compress(strip) for strip in strips] if packing == DEFLATE else strips
    directory, buffer = ImageFileDirectory_v2(prefix=b"MM" if order == ">" else b"II"), BytesIO()
    own = {256: width, 257: height, BITS: (pixels.itemsize * 8,) * channels, 259: packing}
    own |= {262: photometric, 277: channels, ROWS_PER_STRIP: ROWS, 284: 1 + planes}
    lengths = [*map(len, strips)]
    own |= {STRIP_OFFSETS: (0, *np.cumsum(lengths)[:-1].tolist()), 279: tuple(lengths)}
    for tag, value in (own | (tags or {})).items():
        if value is not None:
            directory[tag] = value
    directory.save(buffer)  # adds its length to the offsets of the strips
    return b"".join((buffer.getvalue(), *strips))


def chunk(name: bytes, content: bytes) -> bytes:
    whole = name + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


def png(codes: Pixels, depth: int, kind: int, **chunks: bytes) -> bytes:
    """A PNG of ``codes`` (H, W), ``depth`` bits each, of a colour type, with ``chunks`` before."""
    bits = (codes[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(len(codes), -1).astype(np.uint8), axis=1)
    head = struct.pack(">IIBBBBB", *codes.shape[::-1], depth, kind, 0, 0, 0)
    found = [(b"IHDR", head), *((name.encode(), content) for name, content in chunks.items())]
    found += [(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*found, (b"IEND", b"")))


def adam7(pixels: Pixels) -> bytes:
    """A PNG of 16-bit ``pixels`` (H, W, C), stored interlaced: C = 1 gray, 2 alpha too, 3, 4."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = [
        b"\0" + row.astype(">u2").tobytes()
        for x, y, step_x, step_y in ADAM7
        if pixels[y::step_y, x::step_x].size
        for row in pixels[y::step_y, x::step_x]
    ]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 1)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """A function that reads ``data`` as a file."""

    def from_bytes(data: bytes) -> Still:
        (tmp_path / "picture").write_bytes(data)
        return read_still(tmp_path / "picture")

    return from_bytes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("packing", [RAW, DEFLATE])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colour(read: Any, channels: int, packing: int, planes: bool, order: str) -> None:
    pixels = noise(channels, np.uint16)
    tags = {EXTRA: (2,)} if channels == 4 else {}
    data = tiff(pixels, packing=packing, planes=planes, order=order, tags=tags)
    assert np.array_equal(read(data).pixels, pixels)


@pytest.mark.parametrize("tags", [{BITS: (16,)}, {ROWS_PER_STRIP: None}])
def test_deep_colour_with_tags_that_others_do_without(read: Any, tags: dict[int, Any]) -> None:
    """One number of bits for all samples; no rows of a strip, which means all."""
    pixels = noise(3, np.uint16, (ROWS, 9))
    assert np.array_equal(read(tiff(pixels, tags=tags)).pixels, pixels)


@pytest.mark.parametrize(
    "extra", [(), (0,), (1,), (2,)], ids=["unsaid", "unspecified", "multiplied", "alpha"]
)
def test_a_fourth_sample_means_the_same_in_8_and_16_bits(read: Any, extra: tuple[int]) -> None:
    shallow = noise(4)
    shallow[..., 3] |= 1  # divided by 0, colour is anything
    if extra == (1,):
        shallow[..., :3] = np.minimum(shallow[..., :3], shallow[..., 3:])
    deep = shallow.astype(np.uint16) * 257
    tags = {EXTRA: extra} if extra else {}
    expected = read(tiff(shallow, tags=tags)).pixels
    assert expected.shape[2] == (3 if extra == (0,) else 4)
    found = read(tiff(deep, tags=tags)).pixels
    assert (found.shape, found.dtype) == (expected.shape, np.uint16)
    # Pillow's division cuts off what is below a code of 8 bits.
    assert np.abs(found / 257 - expected).max() <= (1 if extra == (1,) else 0)


def test_alpha_of_0_divides_nothing(read: Any) -> None:
    pixels = np.zeros((4, 4, 4), np.uint16)
    pixels[0, 0] = 65535
    assert np.array_equal(read(tiff(pixels, tags={EXTRA: (1,)})).pixels, pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [RAW, DEFLATE])
def test_cmyk_of_16_bits_is_read_as_that_of_8(read: Any, packing: int, order: str) -> None:
    inks = noise(4)
    shallow = read(tiff(inks, CMYK))
    deep = read(tiff(inks.astype(np.uint16) * 257, CMYK, packing=packing, order=order))
    assert shallow.losses == ("CMYK is turned into sRGB",)
    assert deep.losses == ("CMYK is turned into sRGB of 8 bits",)
    assert deep.pixels.shape[2] == 3
    assert np.array_equal(deep.pixels, shallow.pixels)


def test_deep_tiffs_that_would_be_read_wrongly_are_refused(read: Any) -> None:
    deep = noise(4, np.uint16)
    with pytest.raises(LKDNError, match="has to be RGB in a TIFF, got CMYK in planes"):
        read(tiff(deep, CMYK, planes=True))
    tiles = {322: 16, 323: 16, 324: (8,), 325: (1536,), STRIP_OFFSETS: None}
    with pytest.raises(LKDNError, match="has to be in strips in a TIFF, got tiles"):
        read(tiff(deep[..., :3], tags=tiles))
    with pytest.raises(LKDNError, match="is a kind of TIFF that is not read, or is damaged"):
        read(tiff(noise(3, np.uint32)))
    with pytest.raises(LKDNError, match="whole numbers of 8 and 16 bits are read"):
        read(tiff(noise(1, np.uint16), 1, tags={339: (2,)}))


def zeroed(strip: bytes) -> bytes:
    return strip[:20] + bytes(20) + strip[40:]


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("damage", ["short", "missing", "zeroed"])
def test_a_damaged_deep_tiff_is_refused(read: Any, damage: str, planes: bool) -> None:
    """FFmpeg by itself gives the rows before the damage."""
    pixels = noise(3, np.uint16, (ROWS * 3, 13))
    size = ROWS * 13 * 2 * (1 if planes else 3)
    whole = [pixels.tobytes()[at : at + size] for at in range(0, pixels.nbytes, size)]
    strips, packing = {
        "short": ([*whole[:-1], whole[-1][: size // 2]], RAW),
        "missing": (whole[:-1], RAW),
        "zeroed": ([*map(zlib.compress, whole[:-1]), zeroed(zlib.compress(whole[-1]))], DEFLATE),
    }[damage]
    assert read(tiff(pixels, planes=planes, strips=whole)).bits == 16
    with pytest.raises(LKDNError, match="is damaged"):
        read(tiff(pixels, planes=planes, strips=strips, packing=packing))


def test_labels_of_a_deep_tiff_are_no_damage(read: Any) -> None:
    """FFmpeg, told to stop at damage, stops at tags that it doesn't know."""
    pixels = noise(3, np.uint16)
    tags = {34665: {0x9003: "2026:01:02 03:04:05"}, 700: b"<x/>", 65000: "private", 271: "Maker"}
    still = read(tiff(pixels, tags=tags))
    assert np.array_equal(still.pixels, pixels)
    assert still.labels.exif[271] == "Maker"
    assert still.labels.xmp == b"<x/>"


@pytest.mark.parametrize("size", [(21, 33), (480, 640), (1, 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_deep_png_that_is_stored_interlaced(
    read: Any, channels: int, size: tuple[int, int]
) -> None:
    pixels = noise(channels, np.uint16, size)
    found = read(adam7(pixels))
    assert np.array_equal(found.pixels, pixels)


def test_numbered_pngs_stored_interlaced_have_no_fields(tmp_path: Path) -> None:
    pixels = noise(3, np.uint16, (21, 33))
    for name, data in (("a", adam7(pixels)), ("b", adam7(pixels[::-1]))):
        (tmp_path / f"{name}.png").write_bytes(data)
    source = probe(tmp_path, opener=sequence_opener(tmp_path, Fraction(25)))
    assert not source.interlaced
    first, second = (p.planes for p in decode_pictures(source, Damage()))
    assert np.array_equal(np.stack(first, -1), pixels)
    assert np.array_equal(np.stack(second, -1), pixels[::-1])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("more", [0, 256], ids=["", "and a bit that does not count"])
def test_transparent_gray_of_few_bits(read: Any, depth: int, more: int) -> None:
    white = 2**depth - 1
    codes = np.arange(16).reshape(2, 8) * 7 % (white + 1)
    for gray in {0, int(codes[0, 1]), white}:
        if depth == 1 and more:
            continue  # Pillow takes any bit for that of a bilevel picture
        pixels = read(png(codes, depth, 0, tRNS=struct.pack(">H", gray + more))).pixels
        assert np.array_equal(pixels[..., 0], codes * (255 // white))
        assert np.array_equal(pixels[..., 1], np.where(codes == gray, 0, 255))


def two_directories() -> bytes:
    """A TIFF whose second directory tells no size."""
    data = bytearray(tiff(noise(3)))
    after = 8 + 2 + 12 * struct.unpack_from("<H", data, 8)[0]
    struct.pack_into("<I", data, after, len(data))
    return bytes(data) + struct.pack("<HHHIII", 1, 259, 3, 1, RAW, 0)


def test_files_damaged_in_odd_ways_do_not_end_a_batch(
    tmp_path: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(png(np.zeros((4, 4), int), 2, 3))  # without a palette
    (tmp_path / "in/b.tif").write_bytes(two_directories())
    (tmp_path / "in/c.png").write_bytes(png(np.zeros((4, 4), int), 8, 0))
    assert lkdn_image(tmp_path / "in", tmp_path / "out", "-q") == 1
    first, second = slashed(capsys.readouterr().err).splitlines()
    assert first.endswith("in/a.png: is damaged: AssertionError")
    assert "in/b.tif: is damaged: " in second
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c.png"]


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (TypeError("odd"), LKDNError, "{}: is damaged: odd"),
        (UnidentifiedImageError(), LKDNError, "{}: is not a PNG, JPEG, WebP, "),
        (FormatError("no"), FormatError, "{}: no"),
        (MemoryError("full"), MemoryError, "full"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_becomes_of_errors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
    message: str,
) -> None:
    (path := tmp_path / "a.png").write_bytes(png(np.zeros((4, 4), int), 8, 0))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(images, "_check", fail)
    with pytest.raises(raised) as caught:
        read_still(path)
    assert type(caught.value) is raised
    assert str(caught.value).startswith(message.format(path))
    assert error in (caught.value, caught.value.__cause__)


def test_warnings_of_pillow_stay_out_of_stderr(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[272] = "Maker" * 9, "Model" * 9
    Image.fromarray(noise(3)).save(tmp_path / "a.jpg", exif=exif.tobytes()[:-8])
    with pytest.warns(UserWarning, match="Truncated File"), Image.open(tmp_path / "a.jpg") as cut:
        cut.getexif()
    code = "import sys, pathlib, lkdn_media.images as i; i.read_still(pathlib.Path(sys.argv[1]))"
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jpg")],
        env=plain | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_samples_of_a_png_are_refused(tmp_path: Path, damage: str) -> None:
    """Which Pillow tells once, when it looks for EXIF behind them."""
    path = tmp_path / "a.png"
    Image.fromarray(noise(3, size=(60, 50))).save(path)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(LKDNError, match="is damaged"):
        read_still(path)
