"""Edges cut off pictures: by hand, where they are black, and where the container hides them."""

import struct
from dataclasses import astuple
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_core.errors import ArgumentError
from lkdn_media.crop import black_edges, cropped
from lkdn_media.cut import cut
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.formats import PLANAR
from lkdn_media.pipes import stdin_opener
from lkdn_media.plan import make_plan
from lkdn_media.planes import Planes
from lkdn_media.probe import probe
from lkdn_media.source import Crop, Source
from lkdn_media.upright import upright
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames, planes

SIZE = (64, 48)
BARS = Crop(left=6, right=10, top=8, bottom=4)
FIRST = ("yuv420p", "yuv422p10le", "yuv444p", "gray", "gbrp10le", "yuva420p")


def first(source: Source) -> Planes:
    return next(decode_pictures(source, Damage())).planes


def letterboxed(path: Path, *, dark: int = 0, group: int = 4, box: Crop = BARS) -> Path:
    """12 pictures of noise between slightly noisy black bars; the first ``dark`` are all black."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    with av.open(str(path), "w") as out:
        options = {"qp": "0", "g": str(group), "sc_threshold": "0"}
        stream = out.add_stream("libx264", 25, width=width, height=height, options=options)
        for number in range(12):
            luma = rng.integers(12, 21, (height, width), dtype=np.uint8)
            if number >= dark:
                shown = luma[box.top : height - box.bottom, box.left : width - box.right]
                shown[:] = rng.integers(30, 235, shown.shape)
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, values in zip(planes(frame), (luma, 128, 128), strict=True):
                plane[:] = values
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("pix_fmt", FIRST)
@pytest.mark.parametrize("size", [(34, 26), (33, 25)])
def test_samples_are_those_of_the_whole_picture(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = Clip(size, pix_fmt, "ffv1", {}, pts=range(2), tags=Tags.none())
    source = probe(make_clip(tmp_path / "a.mkv", clip))
    width, height = size
    new = cropped(source, Crop(left=4, right=3, top=6, bottom=5))
    assert (new.width, new.height, new.decoded_size) == (width - 7, height - 11, size)
    x, y = PLANAR[source.layout].subsampling
    for number, (whole, part) in enumerate(zip(first(source), first(new), strict=True)):
        across, down = (x, y) if number in (1, 2) else (0, 0)
        wide, high = -(-new.width >> across), -(-new.height >> down)
        top, left = 6 >> down, 4 >> across
        np.testing.assert_array_equal(part, whole[top : top + high, left : left + wide])


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_sides_are_those_that_are_shown(tmp_path: Path, rotation: int) -> None:
    source = probe(make_clip(tmp_path / "a.mp4", Clip(rotation=rotation, pts=range(2))))
    new = cropped(source, Crop(left=2, right=4, top=6, bottom=8))
    whole, part = (upright(np.asarray(first(s)[0]), s) for s in (source, new))
    np.testing.assert_array_equal(part, whole[6:-8, 2:-4])


def test_the_command_enlarges_what_is_left(tmp_path: Path, lkdn_video: Command) -> None:
    here, whole, part = make_clip(tmp_path / "a.mkv"), tmp_path / "b.mkv", tmp_path / "c.mkv"
    options = ("--codec", "ffv1", "--pix-fmt", "yuv444p")
    assert lkdn_video(here, whole, *options) == 0
    assert lkdn_video(here, part, *options, "--crop", "left=4,bottom=6") == 0
    for old, new in zip(frames(whole), frames(part), strict=True):
        assert (new.width, new.height, new.pts) == (old.width - 8, old.height - 12, old.pts)
        np.testing.assert_array_equal(planes(new)[0][2:-2, 2:], planes(old)[0][2:-14, 10:])


def test_a_height_is_that_of_what_is_left(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv")
    options = ("--crop", "top=4,bottom=4", "--height", "30", "--dry-run")
    assert lkdn_video(here, tmp_path / "b.mkv", *options) == 0
    out = capsys.readouterr().out
    assert "34x26 yuv420p -> 34x18 -> x2 -> libx264 56x30" in out


def test_the_matrix_is_guessed_by_the_whole_picture(tmp_path: Path) -> None:
    clip = Clip(size=(1040, 32), tags=Tags.none(), pts=range(1))
    source = probe(make_clip(tmp_path / "a.mkv", clip))
    plan = make_plan(
        cropped(source, Crop(left=20, right=20)),
        tmp_path / "b.mkv",
        scale=2,
        choice=EncoderChoice(),
    )
    assert (plan.input_format.matrix, plan.tags.matrix) == ("bt709", 1)


@pytest.mark.parametrize("group", [1, 4, 250])
@pytest.mark.parametrize("dark", [0, 11])
def test_black_edges_are_found(tmp_path: Path, group: int, dark: int) -> None:
    source = probe(letterboxed(tmp_path / "a.mkv", group=group, dark=dark))
    assert black_edges(source) == BARS


@pytest.mark.parametrize("ending", ["mp4", "ts", "avi", "mpg"])
def test_black_edges_are_found_in_all_kinds_of_files(tmp_path: Path, ending: str) -> None:
    assert black_edges(probe(letterboxed(tmp_path / f"a.{ending}", dark=3))) == BARS


def test_odd_edges_leave_whole_chroma_samples(tmp_path: Path) -> None:
    box = Crop(left=7, right=0, top=9, bottom=5)
    source = probe(letterboxed(tmp_path / "a.mkv", box=box))
    assert black_edges(source) == Crop(left=6, top=8, bottom=4)


def test_black_pictures_stay_whole(tmp_path: Path) -> None:
    assert not black_edges(probe(letterboxed(tmp_path / "a.mkv", dark=12)))


def test_only_the_part_counts(tmp_path: Path) -> None:
    source = probe(letterboxed(tmp_path / "a.mkv", dark=6, group=1))
    assert not black_edges(cut(source, frames=5))
    assert black_edges(cut(source, start=Fraction(7, 25))) == BARS


@pytest.mark.parametrize("pix_fmt", ["gbrp10le", "yuv420p10le", "gray"])
def test_black_is_told_by_the_format(tmp_path: Path, pix_fmt: str) -> None:
    source = probe(letterboxed(tmp_path / "a.mkv"))
    with av.open(str(tmp_path / "a.mkv")) as old, av.open(str(tmp_path / "b.mkv"), "w") as out:
        stream = out.add_stream("ffv1", 25, width=64, height=48)
        stream.pix_fmt = pix_fmt
        for frame in old.decode(video=0):
            out.mux(stream.encode(frame.reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    assert black_edges(probe(tmp_path / "b.mkv")) == black_edges(source) == BARS


def test_the_command_cuts_off_black_edges(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = letterboxed(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--crop", "auto", "-q") == 0
    found = frames(there)
    assert (len(found), found[0].width, found[0].height) == (12, 96, 72)
    said = f"lkdn-video: {here}: black edges are cut off, as by --crop {BARS}"
    assert said in capsys.readouterr().err.splitlines()
    assert lkdn_video(there, tmp_path / "c.mkv", "--crop", "auto", "--dry-run") == 0
    assert f"lkdn-video: {there}: no black edges" in capsys.readouterr().err.splitlines()


def test_pictures_in_a_folder_can_be_looked_at(tmp_path: Path, lkdn_video: Command) -> None:
    here, folder, there = letterboxed(tmp_path / "a.mkv"), tmp_path / "p", tmp_path / "b.mkv"
    folder.mkdir()
    assert lkdn_video(here, folder / "%05d.png", "-q") == 0
    assert lkdn_video(folder / "%05d.png", there, "--crop", "auto", "-q") == 0
    assert (frames(there)[0].width, frames(there)[0].height) == (192, 144)


@pytest.mark.parametrize(
    ("crop", "code", "line"),
    [
        ("8", 2, "argument --crop: auto, or pixels by side as left=8,top=60 are accepted, got '8'"),
        ("left=8,left=9", 2, "left=8,top=60 are accepted, got 'left=8,left=9'"),
        ("left=-8", 2, "left=8,top=60 are accepted, got 'left=-8'"),
        ("left=3", 2, "crop: left: multiples of 2 are accepted with yuv420p, got left=3"),
        ("left=20,right=14", 2, "crop: less than all of 34x26 is accepted, got left=20,right=14"),
    ],
)
def test_what_can_not_be_cut_off(  # noqa: PLR0917
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    crop: str,
    code: int,
    line: str,
) -> None:
    here = make_clip(tmp_path / "a.mkv")
    assert lkdn_video(here, tmp_path / "b.mkv", "--crop", crop) == code
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_a_pipe_can_not_be_looked_at_first() -> None:
    head, picture = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 Cmono\n", b"FRAME\n" + bytes(256)
    source = probe(Path("-"), opener=stdin_opener(BytesIO(head + picture), None))
    with pytest.raises(ArgumentError, match="auto needs a file whose length is known, got -"):
        black_edges(source)


def hidden(path: Path, element: bytes) -> Path:
    """A Matroska file whose video has ``element`` in place of its colour tags."""
    data = make_clip(path).read_bytes()
    at = data.index(b"\x55\xb0\x98")
    size = 27 - len(element)
    void = b"\xec" + bytes([0x80 + size - 2]) + bytes(size - 2)
    path.write_bytes(data[:at] + element + void + data[at + 27 :])
    return path


def test_what_the_container_hides_is_cut_off(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    left, bottom = b"\x54\xcc\x81\x09", b"\x54\xaa\x81\x06"
    here, there = hidden(tmp_path / "a.mkv", left + bottom), tmp_path / "b.mkv"
    assert astuple(probe(here).crop) == (8, 0, 0, 6)
    assert lkdn_video(here, there, "--crop", "left=2", "-q") == 0
    assert not capsys.readouterr().err
    assert (frames(there)[0].width, frames(there)[0].height) == (48, 40)


def test_a_clean_aperture_is_all_that_is_shown(tmp_path: Path) -> None:
    """ISO/IEC 14496-12, 12.1.4: its size, and how far its middle is from that of the picture."""
    path = make_clip(tmp_path / "a.mp4")
    box = struct.pack(">I4s8i", 40, b"clap", 24, 1, 20, 1, 1, 1, -1, 1)
    data = bytearray(path.read_bytes())
    place = data.index(b"avcC") - 4
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):  # what it is in
        at = data.rindex(name, 0, place) - 4
        (size,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(box))
    path.write_bytes(data[:place] + box + data[place:])
    assert probe(path).crop == Crop(left=6, right=4, top=2, bottom=4)


def test_a_crop_of_everything_is_nonsense(tmp_path: Path) -> None:
    here = hidden(tmp_path / "a.mkv", b"\x54\xcc\x81\x21")
    assert probe(here).decoded_size == (34, 26)
    assert probe(here).crop == Crop(left=32)
