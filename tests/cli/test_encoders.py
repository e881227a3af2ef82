"""Encoders: what each makes of a clip, and settings that reach it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.frame import PictureType
from av.video.reformatter import ColorRange

from lkdn_cli.video import main
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.encoder_options import encoder_options
from lkdn_media.encoders import encoder_pix_fmt, find_encoder, holds, opens
from lkdn_media.formats import PLANAR, repacked
from lkdn_media.hwaccel import device_names
from lkdn_media.priority import ordinary_priority
from tests.cli.clips import Clip, Tags, make_clip, picture
from tests.cli.media import Command, colour, durations, frames, planes, times

YUV8, YUV10 = PLANAR["yuv420p"], PLANAR["yuv420p10le"]


@dataclass(frozen=True)
class Made:
    """What a file should hold: its codec's name, pixel format and profile."""

    codec: str
    pix_fmt: str
    profile: str | None = None


@pytest.mark.parametrize(
    ("codec", "ending", "source", "expected"),
    [
        ("libx264", "mkv", "yuv420p10le", Made("h264", "yuv420p10le", "High 10")),
        ("h264", "mp4", "yuv420p", Made("h264", "yuv420p", "High")),
        ("libx264rgb", "mkv", "gbrp", Made("h264", "gbrp", "High 4:4:4 Predictive")),
        ("libx265", "mp4", "yuv422p10le", Made("hevc", "yuv422p10le", "Rext")),
        ("libx265", "mkv", "yuv420p10le", Made("hevc", "yuv420p10le", "Main 10")),
        ("libsvtav1", "mp4", "yuv420p10le", Made("libdav1d", "yuv420p10le", "Main")),
        ("libvpx-vp9", "webm", "yuv422p", Made("vp9", "yuv422p", "Profile 1")),
        ("libvpx", "webm", "yuv420p", Made("vp8", "yuv420p")),
        ("ffv1", "mkv", "yuv444p12le", Made("ffv1", "yuv444p12le")),
        ("prores_ks", "mov", "yuv422p10le", Made("prores", "yuv422p10le", "HQ")),
        ("prores_ks", "mov", "yuv444p10le", Made("prores", "yuv444p12le", "4444")),
        ("mpeg4", "mp4", "yuv420p", Made("mpeg4", "yuv420p", "Simple Profile")),
        ("mpeg2video", "mkv", "yuv422p", Made("mpeg2video", "yuv422p", "4:2:2")),
        ("mjpeg", "mkv", "yuv420p", Made("mjpeg", "yuv420p", "Baseline")),
        ("png", "mov", "gbrp", Made("png", "rgb24")),
        ("qtrle", "mov", "gbrp", Made("qtrle", "rgb24")),
    ],
)
def test_every_encoder_does_its_best(
    *, tmp_path: Path, lkdn_video: Command, codec: str, ending: str, source: str, expected: Made
) -> None:
    lossless = "magicyuv" if source == "gbrp" else "ffv1"
    clip = Clip(codec=lossless, pix_fmt=source, options={}, size=(40, 32), pts=(0, 1, 3, 4))
    here = make_clip(tmp_path / ("a.mov" if source == "gbrp" else "a.mkv"), clip)
    there = tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--codec", codec) == 0
    assert times(there) == times(here)
    with av.open(str(there)) as container:
        context = container.streams.video[0].codec_context
        assert Made(context.name, context.pix_fmt or "", context.profile) == expected


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg1video"])
def test_encoders_that_know_some_rates_take_all(
    tmp_path: Path, lkdn_video: Command, codec: str
) -> None:
    clip = Clip(size=(64, 48), pts=(0, 1, 2, 6, 7, 8, 9), time_base=Fraction(1, 30))
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", codec) == 0
    assert times(there) == pytest.approx(times(here), abs=1e-3)


def test_dnxhr_has_its_profile_by_depth(tmp_path: Path, lkdn_video: Command) -> None:
    """DNxHR starts at 256x120."""
    for pix_fmt, profile in (("yuv422p", "DNXHR HQ"), ("yuv422p10le", "DNXHR HQX")):
        clip = Clip(codec="ffv1", pix_fmt=pix_fmt, options={}, size=(160, 80), pts=range(2))
        here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mov"
        assert lkdn_video(here, there, "-y", "--codec", "dnxhd") == 0
        with av.open(str(there)) as container:
            context = container.streams.video[0].codec_context
            assert (context.pix_fmt, context.profile) == (pix_fmt, profile)


def test_options_reach_the_encoder(tmp_path: Path, lkdn_video: Command) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pts=range(9)))
    with_keys, settings = ["--encoder-opt", "g=3", "--encoder-opt"], "x264-params=me=tesa"
    assert lkdn_video(here, tmp_path / "b.mkv", *with_keys, settings) == 0
    assert [f.key_frame for f in frames(tmp_path / "b.mkv")] == [True, False, False] * 3
    assert b"me=tesa " in (tmp_path / "b.mkv").read_bytes()


def test_a_bitrate_replaces_the_quality(tmp_path: Path, lkdn_video: Command) -> None:
    here = make_clip(tmp_path / "a.mkv")
    assert lkdn_video(here, tmp_path / "b.mkv", "--bitrate", "1.5M") == 0
    data = (tmp_path / "b.mkv").read_bytes()
    assert b"rc=abr" in data
    assert b"bitrate=1500 " in data


def test_frames_out_of_order_keep_their_times_in_old_codecs(
    tmp_path: Path, lkdn_video: Command
) -> None:
    """MPEG-4 counts frames and may write them out of order; the container has the times."""
    shown = (0, 40, 45, 90, 200, 201, 300)
    clip = Clip(time_base=Fraction(1, 1000), pts=shown, durations=(40, 5, 45, 110, 1, 99, 20))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "mpeg4", "--encoder-opt", "bf=2") == 0
    assert times(there) == [Fraction(t, 1000) for t in shown]
    assert durations(there) == durations(here)
    assert PictureType.B in {f.pict_type for f in frames(there)}


@pytest.mark.parametrize("limited", [True, False])
def test_mjpeg_keeps_the_range(tmp_path: Path, lkdn_video: Command, limited: bool) -> None:
    clip = Clip(tags=Tags(color_range=1 if limited else 2), pts=(0,))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "mjpeg") == 0
    (frame,) = frames(there)
    assert colour(frame)[3] == clip.tags.color_range
    old, new = planes(frames(here)[0])[0], planes(frame)[0]
    assert abs(float(old.mean()) - float(new.mean())) < 1


def test_what_a_library_needs_and_what_is_wished_go_together() -> None:
    choice = EncoderChoice(options=(("x265-params", "aq-mode=3"),))
    options = encoder_options(
        "libx265", choice, pix_fmt="yuv420p", width=640, mastering_display=b"", content_light=b""
    )
    assert options["x265-params"] == "log-level=none:aq-mode=3"


@pytest.mark.parametrize(
    ("codec", "options"),
    [("h264_nvenc", {"rc": "vbr", "cq": "21"}), ("hevc_qsv", {"global_quality": "21"})],
)
def test_quality_has_many_names(codec: str, options: dict[str, str]) -> None:
    given = encoder_options(
        codec,
        EncoderChoice(crf=21),
        pix_fmt="yuv420p",
        width=640,
        mastering_display=b"",
        content_light=b"",
    )
    assert given.items() >= options.items()


def test_default_settings_are_settings_of_their_encoder() -> None:
    """Also of those that can't be opened here."""
    from lkdn_media.encoder_options import _DEFAULTS

    for codec, defaults in _DEFAULTS.items():
        if codec in av.codecs_available:
            wished = EncoderChoice(options=tuple(defaults.items()))
            encoder_options(
                codec,
                wished,
                pix_fmt="yuv420p",
                width=640,
                mastering_display=b"",
                content_light=b"",
            )


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("hevc", "libx265"), ("h265", "libx265"), ("x264", "libx264"), ("vp9", "libvpx-vp9")],
)
def test_a_codec_is_its_usual_encoder(name: str, encoder: str) -> None:
    assert find_encoder(name).name == encoder
    assert find_encoder(encoder).name == encoder


def test_an_encoder_without_its_hardware_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    there = [
        codec for codec in ("h264_nvenc", "h264_qsv", "h264_amf") if codec in av.codecs_available
    ]
    codec = next((codec for codec in there if not opens(codec, "nv12")), None)
    if codec is None:
        pytest.skip("all encoders of graphics cards work here")
    here = make_clip(tmp_path / "a.mp4")
    assert lkdn_video(here, tmp_path / "b.mp4", "--codec", codec) == 2
    said = capsys.readouterr().err
    assert f"lkdn-video: codec: {codec} does not work on this machine; " in said


def test_h264_larger_than_players_take_is_told(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip(size=(2050, 16), pts=range(1)))
    for codec, told in (("libx264", True), ("libx265", False)):
        assert lkdn_video(here, tmp_path / "b.mp4", "--codec", codec, "--dry-run") == 0
        assert ("many players show no H.264 of 4100x32; " in capsys.readouterr().err) == told


def test_semi_planar_pictures_are_what_hardware_takes() -> None:
    assert encoder_pix_fmt("h264_nvenc", YUV8, "auto") in ("yuv420p", "nv12")
    assert encoder_pix_fmt("hevc_qsv", YUV10, "auto") == "p010le"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [(range(0, 75, 8), range(0, 10)), ((0, 40, 44, 46, 80), (0, 4, 5, 6, 8))],
    ids=["fast", "close"],
)
def test_gif_has_a_hundredth_for_every_picture(
    tmp_path: Path, lkdn_video: Command, shown: Sequence[int], expected: Sequence[int]
) -> None:
    """Times that round to the same one: all pictures stay, as late as they have to be."""
    clip = Clip(time_base=Fraction(1, 1000), pts=shown, durations=[4] * len(shown))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.gif"
    assert lkdn_video(here, there) == 0
    assert times(there) == [Fraction(t, 100) for t in expected]


def test_containers_say_what_they_hold() -> None:
    assert holds("matroska", "libx264")
    assert holds("webm", "libsvtav1")
    assert holds("mp4", "libvpx-vp9")
    assert not holds("mov", "libvpx-vp9")
    assert not holds("mp4", "prores_ks")


def test_the_table_of_codecs(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "codecs"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()}
    assert rows["libx264"][:5] == ["yes", ".mkv", ".mp4", ".m4v", ".mov"]
    assert rows["dnxhd"][:2] == ["yes", ".mov"]
    assert rows["mjpeg"][0] == "yes"
    assert rows["libsvtav1"][0] == "yes"
    assert "h264" not in rows
    if not torch.cuda.is_available():
        assert rows["h264_nvenc"][0] == "no"


def test_the_table_of_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["device", "for", "here", "description"]
    assert lines[1].startswith("cpu")
    assert [line.split()[1] for line in lines].count("--hwaccel") == len(device_names())


def test_the_table_of_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "models"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lkdn-s", "x4", "129177", "7.33", "G", "bundled", "clean", "sources"] in rows


@pytest.mark.parametrize(
    ("hwaccel", "warnings"), [("auto", 0), pytest.param("drm", 1, marks=pytest.mark.posix)]
)
def test_decoding_without_the_hardware(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    hwaccel: str,
    warnings: int,
) -> None:
    """The pictures are the same; a device that was named and does not help is told once."""
    here = make_clip(tmp_path / "a.mp4")
    assert lkdn_video(here, tmp_path / "b.mkv", "--codec", "ffv1") == 0
    capsys.readouterr()
    arguments = here, tmp_path / "c.mkv", "--codec", "ffv1", "--hwaccel", hwaccel
    for more in ("--dry-run", "--segment=2"):
        assert lkdn_video(*arguments, more) == 0
        told = capsys.readouterr().err.count("warning: hwaccel: drm can't decode h264 here")
        assert told == warnings
    for one, other in zip(frames(tmp_path / "b.mkv"), frames(tmp_path / "c.mkv"), strict=True):
        assert all(map(np.array_equal, planes(one), planes(other)))


@pytest.mark.parametrize(
    ("pix_fmt", "other"),
    [("yuv420p", "nv12"), ("yuv420p10le", "p010le"), ("gbrp", "rgb24"), ("gbrp10le", "rgb48be")],
)
def test_repacking_keeps_every_sample(pix_fmt: str, other: str) -> None:
    """Again and again: threads in libswscale spoil some pictures of 10 bits, not all."""
    for number in range(60):
        frame = picture(pix_fmt, 100, 70, number)
        frame.pts = number
        back = repacked(repacked(frame, other), pix_fmt)
        assert back.pts == number
        assert all(map(np.array_equal, planes(frame), planes(back)))


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux scheduling")
def test_no_thread_becomes_a_real_time_one() -> None:
    """SVT-AV1 takes real-time priority where it may: for itself, and for the thread that asks."""
    encoder = av.CodecContext.create("libsvtav1", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 128, 96, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    with ordinary_priority():
        encoder.open()
        during = len(os.listdir("/proc/self/task"))
    policies = [os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")]
    assert len(policies) == during > 1
    assert set(policies) == {os.SCHED_OTHER}


@pytest.mark.parametrize("constant", [True, False])
def test_h264_says_its_frame_rate(tmp_path: Path, lkdn_video: Command, constant: bool) -> None:
    """Older programs take durations in MP4 from there. Times are the source's in any case."""
    pts = [512 * i + 100 * (i % 3) * (not constant) for i in range(12)]
    clip = Clip(pts=pts, durations=[512] * len(pts), time_base=Fraction(1, 12800))
    here = make_clip(tmp_path / "a.mp4", clip)
    assert lkdn_video(here, tmp_path / "b.mp4") == 0
    assert times(tmp_path / "b.mp4") == times(here)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        next(container.decode(stream))
        assert (stream.codec_context.framerate == 25) is constant


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mov", "prores_ks"), ("mkv", "mpeg2video"), ("mov", "mpeg4"), ("webm", "libvpx")],
)
def test_full_range_where_there_is_no_word_for_it(
    tmp_path: Path, lkdn_video: Command, ending: str, codec: str
) -> None:
    """Players take the samples for limited ones, so they have to be."""
    clip = Clip(pix_fmt="yuvj420p", tags=Tags(color_range=ColorRange.JPEG))
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--codec", codec) == 0
    old, new = frames(here)[0], frames(there)[0]
    assert new.color_range != ColorRange.JPEG
    before = old.to_ndarray(format="rgb24").repeat(2, 0).repeat(2, 1).astype(int)
    distance = before.mean() - new.to_ndarray(format="rgb24").mean()
    assert abs(distance) < 3


def test_apng_of_deep_transparent_pictures(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(pix_fmt="gbrap12le", codec="ffv1", options={}, tags=Tags(2, 2, 0, 2, 0))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.apng"
    assert lkdn_video(here, there) == 0
    assert len(frames(there)) == 7
