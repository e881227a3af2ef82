"""Videos as numbered pictures, both ways."""

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from lkdn_cli.video import main
from lkdn_media.images import read_still
from lkdn_media.sequences import SequenceWriter, sequence_opener
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames, slashed

LOSSLESS = {"codec": "ffv1", "options": {}}


def twice(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.repeat(2, 0).repeat(2, 1)


def pictures(folder: Path, names: list[str], mode: str = "RGB") -> list[NDArray[Any]]:
    """Noise under each of ``names``."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    made = []
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 26, channels), np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / name)
        made.append(pixels)
    return made


@pytest.mark.parametrize("source", ["in", "in/%05d.png"])
def test_pictures_become_a_video(tmp_path: Path, lkdn_video: Command, source: str) -> None:
    made = pictures(tmp_path / "in", [f"{i:05d}.png" for i in range(7, 12)])
    target = tmp_path / "b.mkv"
    options = ["--codec", "ffv1", "--fps", "24000/1001"]
    assert lkdn_video(tmp_path / source, target, *options) == 0
    shown = [frame.to_ndarray(format="rgb24") for frame in frames(target)]
    assert len(shown) == 5
    assert all(np.array_equal(a, twice(b)) for a, b in zip(shown, made, strict=True))
    with av.open(str(target)) as result:
        assert result.streams.video[0].average_rate == Fraction(24000, 1001)


@pytest.mark.posix
@pytest.mark.parametrize("source", ["in", "in/%05d.png"])
def test_pictures_are_not_written_over_their_sources(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    made = pictures(tmp_path / "in", ["00001.png", "00002.png"])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for folder in ("in", "link"):
        assert lkdn_video(tmp_path / source, tmp_path / folder / "%05d.png", "-y") == 2
        assert "would overwrite the input" in capsys.readouterr().err
    for number, pixels in enumerate(made, 1):
        found = Image.open(tmp_path / f"in/{number:05d}.png")
        assert np.array_equal(np.asarray(found), pixels)


@pytest.mark.parametrize("ending", ["jpg", "webp", "tif", "bmp"])
def test_other_endings(tmp_path: Path, lkdn_video: Command, ending: str) -> None:
    pictures(tmp_path / "in", [f"a [{i}].{ending}" for i in range(3)])
    assert lkdn_video(tmp_path / "in", tmp_path / "b.mkv") == 0
    assert len(frames(tmp_path / "b.mkv")) == 3


def test_alpha_from_pictures_to_pictures(tmp_path: Path, lkdn_video: Command) -> None:
    made = pictures(tmp_path / "in", ["0.png", "1.png"], "RGBA")
    assert lkdn_video(tmp_path / "in", tmp_path / "out/%03d.png") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["001.png", "002.png"]
    for number, pixels in enumerate(made, 1):
        new = read_still(tmp_path / f"out/{number:03d}.png").pixels
        assert new.shape == (40, 52, 4)
        visible = twice(pixels)[..., 3] > 0  # elsewhere colour is replaced
        assert np.array_equal(new[visible, :3], twice(pixels)[visible, :3])
        assert np.abs(new[..., 3].astype(int) - twice(pixels)[..., 3]).max() <= 1


DEPTHS = [("yuv420p", 8, 3), ("yuv444p10le", 16, 3), ("gray", 8, 1), ("gray12le", 16, 1)]


@pytest.mark.parametrize(("pix_fmt", "bits", "channels"), DEPTHS)
def test_a_video_becomes_pictures(
    tmp_path: Path, lkdn_video: Command, pix_fmt: str, bits: int, channels: int
) -> None:
    clip = replace(Clip(), pix_fmt=pix_fmt, **LOSSLESS)
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, tmp_path / "out/%05d.png") == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [f.name for f in files] == [f"{i:05d}.png" for i in range(1, 8)]
    still = read_still(files[0])
    assert (still.bits, still.pixels.shape) == (bits, (52, 68, channels))
    # Limited range has become full: luma 16 + 219 v is now (2^bits - 1) v.
    depth = frames(here)[0].format.components[0].bits
    luma = np.frombuffer(frames(here)[0].planes[0], np.uint8 if depth == 8 else np.uint16)
    luma = luma.reshape(26, -1)[:, :34].astype(float)
    value = (luma / 2 ** (depth - 8) - 16) / 219
    weights = [0.2126, 0.7152, 0.0722] if channels == 3 else [1]
    shown = still.pixels.astype(float) @ weights / (2**bits - 1)
    assert np.abs(shown - twice(value)).max() < 0.01


def test_odd_names_there_and_back(tmp_path: Path, lkdn_video: Command) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(tags=Tags.none()))
    pattern = tmp_path / "a%b" / "50% [%d].jpg"
    assert lkdn_video(here, pattern, "--frames", "2") == 0
    assert Image.open(pattern.with_name("50% [2].jpg")).size == (68, 52)
    assert lkdn_video(pattern, tmp_path / "b.mkv") == 0
    assert len(frames(tmp_path / "b.mkv")) == 2


def test_a_slash_makes_a_folder_of_pictures(tmp_path: Path, nearest: dict[int, Path]) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1)))
    options = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
    for folder in ("new/", "new/"):  # the second time it is there
        assert main([str(here), f"{tmp_path}/{folder}", "-y", *options]) == 0
        names = sorted(p.name for p in (tmp_path / "new").iterdir())
        assert names == ["00001.png", "00002.png"]
    assert main([f"{tmp_path}/new/", str(tmp_path / "b.mkv"), *options]) == 0
    assert main([str(here), str(tmp_path / "new"), *options]) == 2


def test_nothing_is_overwritten_unasked(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1)))
    pictures(tmp_path / "out", ["00001.png", "00009.png"])
    before = (tmp_path / "out/00001.png").read_bytes()
    assert lkdn_video(here, tmp_path / "out/%05d.png") == 2
    assert "00001.png is there already; -y overwrites it" in capsys.readouterr().err
    assert (tmp_path / "out/00001.png").read_bytes() == before
    assert lkdn_video(here, tmp_path / "out/%05d.png", "-y") == 0
    assert "left beside the new ones: 1 older picture\n" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").iterdir())[:2] == ["00001.png", "00002.png"]


def test_a_failure_leaves_no_pictures(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "in", ["0.png", "1.png"])
    Image.new("RGB", (5, 5)).save(tmp_path / "in/2.png")
    assert lkdn_video(tmp_path / "in", tmp_path / "out/%05d.png") == 1
    assert "changes from 26x20" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert lkdn_video(tmp_path / "in", tmp_path / "out/%05d.png") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_two_runs_into_one_folder(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "in", ["0.png", "1.png"])
    out = tmp_path / "out"
    part = out / "%05d.png.part"
    part.mkdir(parents=True)
    (part / "00007.png").write_bytes(b"of a run that was killed")
    with FileLock(part / "lock"):
        assert lkdn_video(tmp_path / "in", out / "%05d.png") == 1
        assert "%05d.png: another process is writing it" in capsys.readouterr().err
        assert (part / "00007.png").exists()
    assert lkdn_video(tmp_path / "in", out / "%05d.png") == 0
    assert sorted(path.name for path in out.iterdir()) == ["00001.png", "00002.png"]


@pytest.mark.parametrize(
    ("names", "source", "message"),
    [
        (["1.png", "2.png", "10.png"], "in", "are not in the order of their numbers; name them as"),
        (["1.png", "2.jpg"], "in", "pictures of one ending make a video, found .jpg, .png"),
        ([], "in", "pictures of one ending make a video, found none (.png, "),
        (["1.png"], "in/%d.exr", "in/%d.exr: no such file; numbered pictures end in .png, .jpg, "),
        (["1.png", "2.png", "4.png"], "in/%d.png", "number 3 of 4 is missing"),
        (["1.png", "20240131120000.png"], "in/%d.png", "number 2 of 20240131120000 is missing"),
        (["1.png"], "in/%05d.png", "in/%05d.png: no such pictures"),
    ],
)
def test_pictures_that_make_no_video(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    source: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(Path("in"), names)
    assert lkdn_video(Path(source), Path("b.mkv")) == 1
    (line,) = slashed(capsys.readouterr().err).splitlines()
    assert message in line
    assert not Path("b.mkv").exists()


def test_a_picture_that_came_meanwhile_stays(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, taken = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1))), tmp_path / "out/2.png"
    finish = SequenceWriter.finish

    def late(writer: SequenceWriter) -> None:
        taken.write_text("somebody's")
        finish(writer)

    monkeypatch.setattr(SequenceWriter, "finish", late)
    assert lkdn_video(here, tmp_path / "out/%d.png") == 1
    assert f"{taken}: is there by now; -y overwrites it" in capsys.readouterr().err
    assert taken.read_text() == "somebody's"
    assert lkdn_video(here, tmp_path / "out/%d.png", "-y") == 0
    assert read_still(taken).pixels.shape == (52, 68, 3)
    assert {path.name for path in taken.parent.iterdir()} == {"1.png", "2.png"}


def test_names_with_powers_are_in_order(tmp_path: Path, lkdn_video: Command) -> None:
    pictures(tmp_path / "in", ["1\u00b2.png", "2.png"])
    assert lkdn_video(tmp_path / "in", tmp_path / "b.mkv") == 0
    assert len(frames(tmp_path / "b.mkv")) == 2


def test_names_and_times_of_a_long_folder(tmp_path: Path) -> None:
    """Times are listed in microseconds, and must not drift from the frames'."""
    names = ["a'b.png", "it's %d [1].png", *(f"{i:06d}.png" for i in range(3000))]
    pictures(tmp_path / "in", ["one.png"])
    one = tmp_path / "in" / "one.png"
    for name in names:
        os.link(one, tmp_path / "in" / name)
    one.unlink()
    rate = Fraction(60000, 1001)
    with sequence_opener(tmp_path / "in", rate)() as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
    starts = [p.pts * p.time_base for p in packets]
    assert starts == [number / rate for number in range(len(names))]


@pytest.mark.parametrize(
    ("names", "demuxer"),
    [
        (["frame-08.png", "frame-09.png", "frame-10.png"], "image2"),
        (["2x 7.png"], "image2"),
        (["08.png", "10.png"], "concat"),
        (["8.png", "9.png", "a.png"], "concat"),
        (["50% 1.png", "50% 2.png"], "concat"),
        (["a.png", "b.png"], "concat"),
    ],
)
def test_numbers_without_gaps_are_read_faster(
    tmp_path: Path, names: list[str], demuxer: str
) -> None:
    pictures(tmp_path / "in", names)
    with sequence_opener(tmp_path / "in", Fraction(25))() as container:
        assert container.format.name == demuxer
        assert len(list(container.decode(video=0))) == len(names)


def test_what_a_picture_really_is_counts(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, target = tmp_path / "in", tmp_path / "b.mkv"
    pictures(folder, [f"{2 * i}.jpg" for i in range(4)])
    for file in folder.iterdir():
        file.rename(file.with_suffix(".png"))
    assert lkdn_video(folder, target) == 0
    assert len(frames(target)) == 4
    # Not what could lead to other files.
    (folder / "2.png").write_text(f"#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    assert lkdn_video(folder, target, "-y") == 3
    assert "1 packet could not be decoded" in capsys.readouterr().err
    assert len(frames(target)) == 3


def test_any_numbers_in_a_pattern(tmp_path: Path, lkdn_video: Command) -> None:
    made = pictures(tmp_path / "in", [f"{i}.png" for i in range(8, 12)])
    assert lkdn_video(tmp_path / "in/%d.png", tmp_path / "out/%d.png") == 0
    for number, pixels in enumerate(made, 1):
        assert np.array_equal(read_still(tmp_path / f"out/{number}.png").pixels, twice(pixels))


@pytest.mark.parametrize("source", ["in", "in/%03d.png"])
def test_an_empty_picture_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    """FFmpeg takes it for the end of all pictures."""
    pictures(tmp_path / "in", [f"{i:03d}.png" for i in range(4)])
    (tmp_path / "in" / "002.png").write_bytes(b"")
    assert lkdn_video(tmp_path / source, tmp_path / "b.mkv") == 1
    assert "002.png: is empty" in capsys.readouterr().err
    assert not (tmp_path / "b.mkv").exists()


@pytest.mark.posix
def test_a_line_break_in_a_name(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "in", ["1.png", "2\n.png"])
    assert lkdn_video(tmp_path / "in", tmp_path / "b.mkv") == 1
    assert "names have a line break make no video" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["folder", pytest.param("link", marks=pytest.mark.posix)])
def test_what_is_no_file_but_named_like_a_picture(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    pictures(tmp_path / "in", [f"{i:03d}.png" for i in range(4)])
    odd = tmp_path / "in" / "001b.png"
    odd.mkdir() if kind == "folder" else odd.symlink_to("nowhere")
    assert lkdn_video(tmp_path / "in", tmp_path / "b.mkv") == 1
    assert "001b.png: is not a file, but has the name of a picture" in capsys.readouterr().err
