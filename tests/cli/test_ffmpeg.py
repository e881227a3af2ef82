"""The user's own ffmpeg program: filters before the network."""

import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_core.errors import LKDNError
from lkdn_media.encoder_list import list_own_encoders
from lkdn_media.ffmpeg import FfmpegProcess
from lkdn_media.ffmpeg_codecs import list_codecs
from lkdn_media.formats import has_alpha
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, colour, copies, durations, frames, planes, times
from tests.cli.test_alpha import SIZE, clip_of, gif_of
from tests.cli.test_fields import FLAGGED
from tests.cli.test_losses import HDR10

FFV1 = ("--codec", "ffv1")
VFR = Clip(
    time_base=Fraction(1, 1000),
    pts=(0, 33, 50, 120, 121, 200, 290),
    durations=(33, 17, 70, 1, 79, 90, 40),
    tags=Tags(9, 16, 9, 1, 3),
    sar=Fraction(4, 3),
    audio=({"language": "deu"},),
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of an ffmpeg program, which commands find by LKDN_FFMPEG."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="brings an ffmpeg program")
    path = str(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("LKDN_FFMPEG", path)
    return path


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending", "options"),
    [
        ("libxvid", "yuv420p", "mkv", ()),
        ("libxvid", "yuv420p", "mp4", ("--segment", "3")),
        pytest.param("libaom-av1", "yuv420p10le", "mp4", (), marks=pytest.mark.slow),
        pytest.param(
            "libaom-av1", "yuv420p10le", "mkv", ("--segment", "3"), marks=pytest.mark.slow
        ),
    ],
)
def test_encoders_that_pyav_lacks(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    codec: str,
    pix_fmt: str,
    options: tuple[str, ...],
    ending: str,
) -> None:
    clip = replace(VFR, pix_fmt=pix_fmt, size=(64, 48), tags=Tags())
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / f"b.{ending}"
    speed = ("--encoder-opt", "cpu-used=8") if codec == "libaom-av1" else ()
    assert lkdn_video(here, there, "--codec", codec, "--bitrate", "2M", *speed, *options) == 0
    assert times(there) == times(here)
    assert [c.tags for c in copies(there)] == [c.tags for c in copies(here)]
    for old, new in zip(frames(here), frames(there), strict=True):
        assert (new.width, new.height, new.format.name) == (128, 96, pix_fmt)
        assert colour(new)[:4] == (1, 1, 1, 1)
        luma = planes(old)[0].repeat(2, 0).repeat(2, 1).astype(int)
        depth = 2 ** (10 if "10" in pix_fmt else 8)
        assert np.abs(luma - planes(new)[0]).mean() < depth / 64
    with av.open(str(there)) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("options", [(), ("--segment", "3")], ids=["one pass", "segments"])
def test_nothing_runs_on_behind_a_file(
    tmp_path: Path, lkdn_video: Command, options: tuple[str, ...]
) -> None:
    """Of each program a thread reads the words until it ends."""
    here = make_clip(tmp_path / "a.mkv", Clip(size=(64, 48)))
    before = threading.active_count()
    for name in ("b.mkv", "c.mkv"):
        assert lkdn_video(here, tmp_path / name, "--codec", "libxvid", *options) == 0
    assert threading.active_count() <= before


def test_the_list_has_them(program: str) -> None:
    assert program
    names = {encoder.name: encoder.endings for encoder in list_own_encoders()}
    assert set(names["libxvid"]) == {".mkv", ".mp4", ".m4v", ".mov"}
    assert "libx264" not in names


@pytest.mark.slow
@pytest.mark.usefixtures("program")
def test_frames_out_of_order_from_outside(tmp_path: Path, lkdn_video: Command) -> None:
    """H.266 shows the picture it codes first as the last of many."""
    clip = Clip(size=(64, 48), pts=range(20), pix_fmt="yuv420p10le", codec="ffv1", options={})
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "libvvenc", "--preset", "faster") == 0
    assert times(there) == times(here)
    with av.open(str(there)) as result:
        shown = [packet.pts for packet in result.demux(video=0) if packet.size]
        assert shown != sorted(shown)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crf", "20"), "crf: libxvid has no such setting"),
        (("--encoder-opt", "me_qualty=3"), "encoder_opt: libxvid has no option 'me_qualty'; near"),
        (("--encoder-opt", "me_quality=99"), "codec: libxvid refuses: ffmpeg: "),
        (("--pix-fmt", "yuv444p"), "pix_fmt: libxvid takes yuv420p, got 'yuv444p'"),
    ],
)
def test_wrong_settings_of_outside_encoders(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    program: str,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1))), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--ffmpeg", program, "--codec", "libxvid", *options) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"lkdn-video: {message}")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


def test_outside_encoders_lose_hdr10(
    program: str, tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is told once."""
    if "libvvenc" not in {encoder for encoder, _, _ in list_codecs(program)}:
        pytest.skip("this ffmpeg has no libvvenc")
    here = make_clip(tmp_path / "a.mkv", HDR10)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", "libvvenc") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "HDR10" in line]
    assert "are lost with libvvenc; libx265, libx264 and libsvtav1 keep them" in line


@pytest.mark.usefixtures("program")
def test_an_encoder_without_its_card(
    tmp_path: Path, lkdn_video: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1))), tmp_path / "b.mkv"
    code = lkdn_video(here, there, "--codec", "h264_vaapi")
    if code == 0:
        pytest.skip("the card is here")
    said = capfd.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("lkdn-video: codec: h264_vaapi refuses: ffmpeg: ")


@pytest.mark.usefixtures("program")
def test_filters_before_the_network(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", VFR), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *FFV1, "--ffmpeg-vf", "negate,hflip") == 0
    assert times(there) == times(here)
    assert durations(there)[:-1] == durations(here)[:-1]
    assert copies(there) == copies(here)
    for old, new in zip(frames(here), frames(there), strict=True):
        assert colour(new) == colour(old) == (9, 16, 9, 1, 3)
        negative = 255 - planes(old)[0][:, ::-1].astype(int)
        assert np.abs(negative.repeat(2, 0).repeat(2, 1) - planes(new)[0]).mean() < 3
    with av.open(str(there)) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.usefixtures("program")
def test_filters_may_change_size_rate_and_depth(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mp4", Clip(pts=range(8), rotation=90)), tmp_path / "b.mp4"
    filters = "fps=50,crop=20:16,format=yuv444p10le"
    assert lkdn_video(here, there, "--ffmpeg-vf", filters, "--start", "0.1") == 0
    new = frames(there)
    assert times(there) == [Fraction(i, 50) for i in range(len(new))]
    assert len(new) == 11
    assert (new[0].width, new[0].height, new[0].format.name) == (40, 32, "yuv444p10le")
    assert new[0].rotation == 90


@pytest.mark.usefixtures("program")
def test_filters_may_change_colours(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", VFR), tmp_path / "b.mkv"
    filters = "zscale=matrix=709:primaries=709:transfer=709:chromal=left"
    assert lkdn_video(here, there, *FFV1, "--ffmpeg-vf", filters) == 0
    assert colour(frames(there)[0]) == (1, 1, 1, 1, 1)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("filters", "count"), [("trim=end=0.08", 2), ("setpts=0.5*PTS", 7)], ids=["cut", "faster"]
)
def test_filters_may_shorten(tmp_path: Path, lkdn_video: Command, filters: str, count: int) -> None:
    """The end in the head of a Matroska file is then not that of the pictures."""
    here, there = make_clip(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--ffmpeg-vf", filters) == 0
    assert len(frames(there)) == count


@pytest.mark.usefixtures("program")
def test_alpha_of_webm_goes_through_filters(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = clip_of(tmp_path / "a.webm", "libvpx-vp9", "yuva420p"), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--ffmpeg-vf", "null", "--codec", "ffv1") == 0
    assert frames(there)[0].format.name == "yuva420p"


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("pix_fmt", "filters", "alpha"),
    [
        ("yuv420p", "format=yuva420p,geq=lum=lum(X\\,Y):a=128", True),
        ("bgra", "hflip", False),
        ("bgra", "colorchannelmixer=aa=0.5", True),
    ],
    ids=["new", "opaque", "old"],
)
def test_filters_may_make_transparent(
    *, tmp_path: Path, lkdn_video: Command, pix_fmt: str, filters: str, alpha: bool
) -> None:
    here, there = tmp_path / "a.mkv", tmp_path / "b.mkv"
    if pix_fmt == "bgra":
        here = gif_of(tmp_path / "a.gif", transparent=False)
    else:
        make_clip(here, Clip(size=SIZE, pts=(0, 1)))
    assert lkdn_video(here, there, "--ffmpeg-vf", filters, "--codec", "ffv1") == 0
    new = frames(there)[0]
    assert has_alpha(new.format.name) == alpha
    assert new.to_ndarray(format="rgba")[..., 3].mean() == pytest.approx(
        128 if alpha else 255, abs=1
    )


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("options", "done"),
    [
        (
            ("--ffmpeg-vf", "hflip"),
            "is enlarged as if it were progressive; bwdif among the filters of --ffmpeg-vf makes "
            "it whole",
        ),
        (("--ffmpeg-vf", "hflip", "--deinterlace", "bwdif"), "goes through bwdif"),
        (("--ffmpeg-vf", "yadif=0,hflip"), None),
    ],
    ids=["combed", "after", "before"],
)
def test_filters_hide_fields_from_the_deinterlacer(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    done: str | None,
) -> None:
    here = make_clip(tmp_path / "a.mkv", FLAGGED)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", *options) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "interlaced" in line]
    expected = f"lkdn-video: warning: the picture is flagged as interlaced, and {done}"
    assert lines == ([] if done is None else [expected])


@pytest.mark.usefixtures("program")
def test_decoding_on_a_device_is_not_for_filters(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv")
    options = ("--dry-run", "--ffmpeg-vf", "hflip", "--hwaccel")
    assert lkdn_video(here, tmp_path / "b.mkv", *options, "auto") == 0
    assert lkdn_video(here, tmp_path / "b.mkv", *options, "cuda") == 2
    assert "hwaccel: none or auto goes with --ffmpeg-vf" in capsys.readouterr().err


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("silent", [0, 4])
def test_filters_lose_captions(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], silent: int
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(captions=True, silent=silent))
    for options, lost in (((), False), (("--ffmpeg-vf", "hflip"), True)):
        assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", *options) == 0
        said = capsys.readouterr().err
        assert ("closed captions inside pictures that go through --ffmpeg-vf" in said) == lost


@pytest.mark.usefixtures("program")
def test_pictures_are_turned_once(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """By filters, or else by us, where the container can't say that they are."""
    here = make_clip(tmp_path / "a.mp4", Clip(pts=(0, 1), rotation=90))
    shown = np.rot90(frames(here)[0].to_ndarray(format="rgb24")).repeat(2, 0).repeat(2, 1)
    for filters in ("null", "transpose=cclock"):
        there = tmp_path / f"{filters}.gif"
        assert lkdn_video(here, there, "--ffmpeg-vf", filters) == 0
        assert "rotation or mirroring" not in capsys.readouterr().err
        assert np.abs(frames(there)[0].to_ndarray(format="rgb24").astype(int) - shown).mean() < 9
    for filters, lost in (("null", True), ("transpose=cclock", False)):
        assert lkdn_video(here, Path("-"), "--dry-run", "--ffmpeg-vf", filters) == 0
        assert ("rotation or mirroring is lost" in capsys.readouterr().err) == lost


def test_a_wrong_filter_is_told_in_one_line(
    tmp_path: Path, lkdn_video: Command, program: str, capfd: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1)))
    options = ("--ffmpeg", program, "--ffmpeg-vf", "blure=2")
    assert lkdn_video(here, tmp_path / "b.mkv", *options) == 2
    said = capfd.readouterr().err
    assert said.startswith("lkdn-video: ffmpeg_vf: ")
    assert "blure" in said
    assert said.count("\n") == 1


def test_without_the_program(
    tmp_path: Path,
    lkdn_video: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LKDN_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1)))
    assert lkdn_video(here, tmp_path / "b.mkv", "--ffmpeg-vf", "hflip") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "lkdn-video: ffmpeg: --ffmpeg-vf needs the program, and 'ffmpeg' is none"
    )
    assert said.count("\n") == 1


def test_names_are_no_options(tmp_path: Path, lkdn_video: Command, program: str) -> None:
    assert program
    name = tmp_path / "-i 'a b' $(x);.mkv"
    make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1))).rename(name)
    assert lkdn_video(name, tmp_path / "b.mkv", "--ffmpeg-vf", "hflip") == 0


def test_a_talkative_program_does_not_stop(program: str) -> None:
    """More words than a pipe holds."""
    noise = ("-f", "lavfi", "-i", "nullsrc=s=16x16:d=1", "-f", "null", "-")
    process = FfmpegProcess([program, "-v", "trace", *noise])
    process.output.read()
    process.finish()


def test_a_failing_program_is_quoted(program: str) -> None:
    process = FfmpegProcess([program, "-v", "error", "-i", "nowhere.mkv", "-f", "null", "-"])
    with pytest.raises(LKDNError, match="ffmpeg: Error opening input: No such file"):
        process.finish()


def test_filters_keep_the_clock_of_recordings(
    tmp_path: Path, lkdn_video: Command, program: str
) -> None:
    """Joined, each with a clock of its own."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 36000, 3600), audio=({},))
    parts = []
    for start in ("50000", "3"):
        part = replace(clip, container_options={"output_ts_offset": start})
        parts.append(make_clip(tmp_path / f"{start}.ts", part).read_bytes())
    for data in (parts[0], parts[0] + parts[1]):
        here, there, plain = (tmp_path / name for name in ("a.ts", "b.mkv", "c.mkv"))
        here.write_bytes(data)
        assert lkdn_video(here, plain, "-y") == 0
        assert lkdn_video(here, there, "-y", "--ffmpeg-vf", "hflip") == 0
        # The program sees the video alone, and joins it without regard to longer sound.
        expected = [float(t) for t in times(plain)]
        assert [float(t) for t in times(there)] == pytest.approx(expected, abs=0.15)
        assert [float(t) for t in times(there)][:10] == pytest.approx(expected[:10], abs=0.002)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("rate", [10, 50])
@pytest.mark.parametrize("ending", ["avi", "mkv", "mp4"])
def test_filters_that_change_the_rate_tell_it(
    tmp_path: Path, lkdn_video: Command, rate: int, ending: str
) -> None:
    clip = Clip(pts=range(25), codec="mpeg4", options={})
    here, there = make_clip(tmp_path / f"a.{ending}", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--ffmpeg-vf", f"fps={rate}", *FFV1) == 0
    with av.open(str(there)) as container:
        assert container.streams.video[0].average_rate == rate
    assert len(times(there)) == rate
    steps = np.diff([float(t) for t in times(there)])
    assert steps == pytest.approx(np.full(rate - 1, 1 / rate), abs=1.1e-3)
