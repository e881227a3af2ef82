"""What travels inside the pictures: kept where the codec has a place for it, else named."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from PIL import Image, ImageCms

from lkdn_media.side_data import progressive
from tests.cli.clips import Clip, caption, make_clip
from tests.cli.media import Command, colour, frames, planes, times
from tests.cli.test_fields import FLAGGED, MPEG2, NTSC

INTERLACED = Clip(size=(64, 48), fields="tff", options={"flags": "+ildct"}, captions=True)
#: Reads the files it is given, and numbered pictures; prints what of each can't be kept.
READ = """
import sys
from fractions import Fraction
from pathlib import Path
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.probe import probe
from lkdn_media.sequences import sequence_opener

for name in sys.argv[1:]:
    opener = sequence_opener(Path(name), Fraction(25)) if "%" in name else None
    source = probe(Path(name), opener=opener)
    count = len(list(decode_pictures(source, Damage())))
    print(Path(name).name, count, source.mastering_display != b"", *source.unkept, sep=", ")
"""


def captions(path: Path) -> list[bytes]:
    """Those of each frame."""
    return [bytes(f.side_data[SideData.A53_CC]) for f in frames(path)]


def pictures_with_profile(folder: Path) -> list[Path]:
    """Three pictures of each kind that can hold an ICC profile, as files of one and of all."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pictures = [Image.new("RGB", (64, 36), (50 * i, 99, 10)) for i in range(3)]
    made = []
    for ending in ("png", "jpg", "webp", "tif"):
        for number, picture in enumerate(pictures):
            picture.save(folder / f"{number}.{ending}", icc_profile=profile)
        made.append(folder / f"%d.{ending}")
    first, *others = pictures
    first.save(folder / "a.apng", "png", save_all=True, append_images=others, icc_profile=profile)
    with av.open(str(folder / "a.mov"), "w") as out:
        stream = out.add_mux_stream("png", rate=25, width=64, height=36)
        for number in range(3):
            packet = av.Packet((folder / f"{number}.png").read_bytes())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            out.mux(packet)
    return [*made, folder / "a.apng", folder / "a.mov"]


def test_colour_profiles_are_named(tmp_path: Path) -> None:
    """In a process of its own, which PyAV kills where PNG's profiles are touched."""
    names = pictures_with_profile(tmp_path)
    for number in range(2):  # without a profile
        Image.new("RGB", (64, 36), (50 * number, 99, 10)).save(tmp_path / f"n{number}.png")
    command = [sys.executable, "-c", READ, *map(str, names), str(tmp_path / "n%d.png")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lost = "the ICC colour profile of the pictures"
    expected = [f"{path.name}, 3, False, {lost}" for path in names]
    assert run.stdout.splitlines() == [*expected, "n%d.png, 2, False"]


@pytest.mark.parametrize(("timecode", "named"), [("01:02:03:04", True), (None, False)])
def test_timecodes_of_mpeg2_are_named(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    timecode: str | None,
    named: bool,
) -> None:
    """But for the one that begins with 0, as all do that nobody set."""
    options = {"gop_timecode": timecode} if timecode else {}
    here = make_clip(tmp_path / "a.mpg", replace(MPEG2, fields=None, options=options))
    assert SideData.GOP_TIMECODE in frames(here)[0].side_data
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    said = "warning: the timecode inside the pictures can't be kept" in capsys.readouterr().err
    assert said == named


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("libx264", "libx264", "b.mp4"),
        ("libx264", "libx265", "b.mkv"),
        ("libx265", "libx264", "b.mkv"),
        ("libx264", "mpeg2video", "b.mkv"),
    ],
)
def test_captions_stay_in_their_frames(
    tmp_path: Path,
    lkdn_video: Command,
    source: str,
    codec: str,
    target: str,
) -> None:
    options = {"x265-params": "log-level=none:cutree=0"} if source == "libx265" else {}
    clip = Clip(size=(64, 48), codec=source, options=options, captions=True)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / target
    assert lkdn_video(here, there, "--codec", codec) == 0
    kept = [bytes(f.side_data[SideData.A53_CC]) for f in frames(there)]
    assert kept == [caption(i) for i in range(7)]
    assert times(there) == times(here)


@pytest.mark.parametrize("way", ["auto", "bwdif", "off"])
def test_captions_pass_by_the_filters(tmp_path: Path, lkdn_video: Command, way: str) -> None:
    """Libavfilter deals them out anew at the frame rates of North America."""
    clip = replace(INTERLACED, pts=range(20), rate=NTSC, time_base=1 / NTSC)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--deinterlace", way) == 0
    assert not any(f.interlaced_frame for f in frames(there))
    assert captions(there) == [caption(i) for i in range(20)]


def test_captions_of_telecined_film_stay_in_order(tmp_path: Path, lkdn_video: Command) -> None:
    """Those of one frame in five go with it."""
    here = make_clip(tmp_path / "a.mkv", replace(FLAGGED, captions=True))
    assert lkdn_video(here, tmp_path / "b.mkv", "--ivtc") == 0
    old, kept = captions(here), captions(tmp_path / "b.mkv")
    assert old == [caption(i) for i in range(25)]
    assert len(kept) == 20
    for cycle in range(5):
        all_, some = old[5 * cycle : 5 * cycle + 5], kept[4 * cycle : 4 * cycle + 4]
        assert any(all_[:i] + all_[i + 1 :] == some for i in range(5))


def test_frames_are_not_written_as_interlaced(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", INTERLACED), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--deinterlace", "off", "--codec", "ffv1") == 0
    assert not any(f.interlaced_frame for f in frames(there))


def test_a_progressive_frame_keeps_all_but_the_flag(tmp_path: Path) -> None:
    old = frames(make_clip(tmp_path / "a.mkv", INTERLACED))[1]
    new = progressive(old)
    assert (old.interlaced_frame, new.interlaced_frame) == (True, False)
    assert (new.pts, new.duration, colour(new)) == (old.pts, old.duration, colour(old))
    assert bytes(new.side_data[SideData.A53_CC]) == caption(1)
    assert all(np.array_equal(a, b) for a, b in zip(planes(new), planes(old), strict=True))
    assert progressive(new) is new


@pytest.mark.parametrize("options", [(), ("--segment", "2")], ids=["one pass", "segments"])
def test_captions_that_come_late_are_named(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(captions=True, silent=3))
    line = f"warning: {here}: closed captions inside the pictures are lost with ffv1; "
    for codec, lost in (("ffv1", 1), ("libx264", 0)):
        there = tmp_path / f"{codec}.mkv"
        assert lkdn_video(here, there, "-q", "--codec", codec, *options) == 0
        assert capsys.readouterr().err.count(line) == lost
    shown = [f.side_data.get(SideData.A53_CC) for f in frames(tmp_path / "libx264.mkv")]
    assert [data and bytes(data) for data in shown] == [None] * 3 + [
        caption(i) for i in (3, 4, 5, 6)
    ]


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        # ATSC A/53 part 4, 6.2.4: the picture is 16:9
        ((4, b"\xb5\x00\x31DTG1\x41\xfa"), "the active format description, which says what"),
        # H.264 D.1.29: mastering display colour volume, without zeros, which would end the unit
        ((137, b"\x33" * 16 + b"\x02\1\1\1" + b"\1\1\1\1"), "mastering display and content light"),
    ],
    ids=["AFD", "HDR10"],
)
def test_what_comes_late_is_named_once(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    message: tuple[int, bytes],
    lost: str,
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(message=message, silent=3))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lkdn-video: warning: {here}: {lost}")
    assert line.endswith("can't be kept")


def test_dolby_vision_that_is_only_announced_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The box dvvC in the place of another that says little (Dolby Vision in ISO files, 3.1)."""
    here = make_clip(tmp_path / "a.mp4", Clip(sar=Fraction(4, 3)))
    data = here.read_bytes()
    size = 4 + 4 + 24
    at = data.index(b"pasp") - 4
    box = size.to_bytes(4) + b"dvvC" + bytes([1, 0, 8 << 1, 5 << 3 | 0b101, 1 << 4]) + bytes(19)
    here.write_bytes(_longer_boxes(data[:at] + box + data[at:], at, size))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    assert "warning: Dolby Vision metadata can't be kept" in capsys.readouterr().err


def _longer_boxes(data: bytes, at: int, size: int) -> bytes:
    """MP4 whose boxes around ``at`` say that they are ``size`` bytes longer; moov is the last."""
    new = bytearray(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.rindex(name, 0, at) - 4
        new[place : place + 4] = (int.from_bytes(new[place : place + 4]) + size).to_bytes(4)
    return bytes(new)


def test_captions_without_a_place_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(captions=True))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", "ffv1") == 0
    assert capsys.readouterr().err == (
        "lkdn-video: warning: closed captions inside the pictures are lost with ffv1; libx264, "
        "libx265 and mpeg2video keep them\n"
    )
