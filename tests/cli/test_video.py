"""``lkdn-video`` on clips with everything in them: nothing but the picture changes."""

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_media.probe import probe
from tests.cli.clips import Clip, make_clip
from tests.cli.media import (
    Command,
    colour,
    copies,
    durations,
    file_tags,
    frames,
    starts_with_its_index,
    times,
)

SAMPLE = Path(__file__).parents[2] / "samples" / "flower.mp4"
FULL = Clip(
    time_base=Fraction(1, 1000),
    pts=(0, 33, 50, 120, 121, 200, 290),
    durations=(33, 17, 70, 1, 79, 90, 40),
    audio=({"language": "deu", "title": "Ton"}, {"language": "eng"}),
    chapters=((0, 100, "eins"), (100, 300, "zwei")),
    metadata={"title": "Alles", "artist": "wir"},
    sar=Fraction(4, 3),
)


@pytest.mark.parametrize(
    ("source", "target", "clip"),
    [
        ("a.mp4", "b.mp4", Clip(time_base=Fraction(1001, 30000), pts=range(30))),
        ("a.mkv", "b.mkv", FULL),
        ("a.mkv", "b.mp4", FULL),
        ("late.mp4", "b.mp4", Clip(pts=range(50, 57))),
        ("edited.mp4", "b.mp4", Clip(pts=range(-3, 4), audio=({},), audio_start=-1024)),
        ("edited.mp4", "b.mkv", Clip(pts=range(0, 70, 10), audio=({},), audio_start=2048)),
        ("a.mov", "b.mov", Clip(time_base=Fraction(1, 600), pts=(3, 28, 60, 71, 72))),
        ("two.mkv", "b.webm", Clip(pts=(0, 2))),
    ],
)
def test_every_frame_at_its_time(
    tmp_path: Path, lkdn_video: Command, source: str, target: str, clip: Clip
) -> None:
    here, there = make_clip(tmp_path / source, clip), tmp_path / target
    assert lkdn_video(here, there) == 0
    assert times(there) == times(here)
    assert len(times(there)) == len([pts for pts in clip.pts if pts >= 0])
    if there.suffix == ".mkv":
        assert durations(there) == durations(here)
    assert list(tmp_path.glob("*.part")) == []


def test_reordered_frames_in_avi(tmp_path: Path, lkdn_video: Command) -> None:
    """AVI only says when a frame is decoded."""
    clip = Clip(pts=range(60), options={"qp": "0", "bf": "2", "b-adapt": "0"})
    here, there = make_clip(tmp_path / "a.avi", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there) == 0
    assert [float(t) for t in np.diff(times(there))] == pytest.approx([0.04] * 59, abs=0.0011)


def test_frames_without_timestamps_follow_each_other(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.h264"), tmp_path / "b.mkv"
    assert frames(here)[0].pts is None
    assert lkdn_video(here, there) == 0
    assert times(there) == [Fraction(i, 25) for i in range(7)]


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv"])
def test_tapes(tmp_path: Path, lkdn_video: Command, target: str) -> None:
    """Of raw DV FFmpeg says a frame a tick; its timecode goes by frames."""
    clip = Clip(size=(720, 576), codec="dvvideo", options={}, pts=range(3))
    here, there = make_clip(tmp_path / "a.dv", clip), tmp_path / target
    assert probe(here).frame_rate == 25
    assert probe(here).frames == 3
    assert lkdn_video(here, there, "--preset", "ultrafast") == 0
    assert times(there) == [Fraction(i, 25) for i in range(3)]
    with av.open(str(there)) as container:
        assert container.streams.video[0].average_rate == 25


def test_frames_before_zero_stay(tmp_path: Path, lkdn_video: Command) -> None:
    """Matroska can hold them, but its reader has no times for them."""
    clip = Clip(pts=range(-3, 7), time_base=Fraction(1, 25), options={"qp": "0", "bf": "0"})
    clip = replace(clip, container_options={"avoid_negative_ts": "disabled"})
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert [f.pts for f in frames(here)][:4] == [None, None, None, 0]
    assert lkdn_video(here, there) == 3
    assert len(times(there)) == 10
    late = replace(clip, pts=[40 * i + 20 for i in range(-3, 7)], time_base=Fraction(1, 1000))
    here = make_clip(here, late)
    assert lkdn_video(here, there, "-y") == 0
    assert [f.pts for f in frames(here)][:4] == [None, None, None, 20]
    assert times(there)[:4] == [Fraction(t, 1000) for t in (2, 8, 14, 20)]
    assert times(there)[3:] == [Fraction(20 + 40 * i, 1000) for i in range(7)]


def test_matroska_keeps_everything(tmp_path: Path, lkdn_video: Command) -> None:
    clip = replace(FULL, subtitles="ass", attachment=b"glyphs" * 9, cover=True)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    before = here.read_bytes()
    assert lkdn_video(here, there) == 0
    old = copies(here)
    assert [c.kind for c in old] == ["audio", "audio", "subtitle", "video", "attachment"]
    assert old[0].disposition != old[1].disposition
    assert copies(there) == old
    assert file_tags(there) == file_tags(here) == {"title": "Alles", "artist": "wir"}
    with av.open(str(here)) as source, av.open(str(there)) as result:
        assert result.chapters() == source.chapters()
        assert len(result.chapters()) == 2
        assert result.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert result.streams.video[0].disposition == source.streams.video[0].disposition
    assert here.read_bytes() == before


def test_mp4_keeps_everything(tmp_path: Path, lkdn_video: Command) -> None:
    clip = replace(FULL, subtitles="mov_text", cover=True, rotation=90)
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there) == 0
    old = copies(here)
    assert [c.kind for c in old] == ["audio", "audio", "subtitle", "data", "video"]
    assert copies(there) == old
    assert file_tags(there) == file_tags(here)
    assert [f.rotation for f in frames(there)] == [90] * 7
    with av.open(str(here)) as source, av.open(str(there)) as result:
        assert result.chapters() == source.chapters()
        assert result.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("name", ["b.mp4", "b.m4v", "b.mov"])
def test_players_can_start_before_the_end_has_come(
    tmp_path: Path, lkdn_video: Command, name: str
) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(audio=[{}])), tmp_path / name
    assert lkdn_video(here, there) == 0
    assert starts_with_its_index(there)


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "cover.jpg"), ("png", "cover.png")])
def test_covers_of_mp4_are_attachments_in_matroska(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    name: str,
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip(cover=True, cover_codec=codec))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    assert capsys.readouterr().err == ""
    (old,), (new,) = copies(here), copies(tmp_path / "b.mkv")
    assert [p[0] for p in new.packets] == [p[0] for p in old.packets]
    assert (new.disposition, new.tags["filename"]) == (old.disposition, name)


def test_subtitles_of_mp4_become_text_in_matroska(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "a.mp4", tmp_path / "b.mkv"
    make_clip(here, Clip(subtitles="mov_text", pts=range(10)))
    assert lkdn_video(here, there, "--dry-run") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[1] == "#1 subtitle mov_text ger -> subrip, encoded anew"
    assert lkdn_video(here, there) == 0
    (text,) = copies(there)
    times_ = [(Fraction(40 + 100 * i, 1000), Fraction(90, 1000)) for i in range(2)]
    assert text.packets == [(f"Zeile {i}".encode(), *times_[i]) for i in range(2)]
    assert text.tags == {"language": "ger"}
    assert text.disposition == copies(here)[0].disposition


def test_sound_without_a_layout_of_channels(tmp_path: Path, lkdn_video: Command) -> None:
    """Matroska has none for PCM, and MP4 wants one."""
    here = make_clip(tmp_path / "a.mkv", Clip(audio=({},), audio_codec="pcm_f32le"))
    assert lkdn_video(here, tmp_path / "b.mp4") == 0
    (old,), (new,) = copies(here), copies(tmp_path / "b.mp4")
    assert b"".join(p[0] for p in new.packets) == b"".join(p[0] for p in old.packets)


def test_a_timecode_is_kept(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(metadata={"timecode": "01:02:03:04"})
    here, there = make_clip(tmp_path / "a.mov", clip), tmp_path / "b.mov"
    assert lkdn_video(here, there) == 0
    with av.open(str(there)) as result:
        assert [s.metadata.get("timecode") for s in result.streams] == ["01:02:03:04"] * 2
    assert copies(there) == copies(here)


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (25, ""),
        (1000, "lkdn-video: warning: mp4 has timecodes up to 255 frames/s; mkv keeps it\n"),
    ],
)
def test_a_timecode_of_matroska(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    rate: int,
    said: str,
) -> None:
    base = Fraction(1, rate)
    clip = Clip(metadata={"timecode": "01:02:03:04"}, rate=Fraction(rate), time_base=base)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there, "-q") == 0
    assert capsys.readouterr().err == said
    with av.open(str(there)) as result:
        kept = [s.metadata.get("timecode") for s in result.streams]
    assert kept == ([None] if said else ["01:02:03:04"] * 2)


def test_what_does_not_fit_is_named_before_the_work(
    tmp_path: Path,
    lkdn_video: Command,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = replace(
        FULL, subtitles="ass", attachment=b"glyphs", metadata={"title": "T", "mood": "x"}
    )
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there, "--dry-run") == 0
    assert not there.exists()
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "#0 video h264 34x26 yuv420p -> libx264 68x52 yuv420p "
        "(crf=17 preset=medium x264-params=force-cfr=1)",
        "#1 audio aac deu -> copied",
        "#2 audio aac eng -> copied",
        "#3 subtitle ass ger -> mov_text, encoded anew",
        "#4 attachment tiny.ttf -> dropped",
        f"network {nearest[2]} x2",
    ]
    assert said.err.splitlines() == [
        "lkdn-video: warning: encoded anew as mov_text, since mp4 can't hold it: "
        "#3 subtitle ass ger",
        "lkdn-video: warning: dropped, since mp4 can't hold them: #4 attachment tiny.ttf; mkv can",
        "lkdn-video: warning: mp4 can't hold the tags MOOD; mkv can",
    ]
    assert lkdn_video(here, there) == 0
    kinds = [c.kind for c in copies(there)]
    assert kinds == ["audio", "audio", "subtitle", "data"]  # data: the chapters


def test_labels_without_a_place_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = ({"language": "deu", "mood": "x"}, {"title": "Ton"})
    here = make_clip(tmp_path / "a.mkv", Clip(audio=tracks, cover=True))
    assert lkdn_video(here, tmp_path / "b.mp4", "--dry-run") == 0
    assert capsys.readouterr().err.splitlines() == [
        "lkdn-video: warning: mp4 can't hold the tags MOOD of #1; mkv can"
    ]
    assert lkdn_video(here, tmp_path / "b.mov") == 0
    assert capsys.readouterr().err.splitlines()[:3] == [
        "lkdn-video: warning: dropped, since mov can't hold them: #3 cover mjpeg; mkv or mp4 can",
        "lkdn-video: warning: mov can't hold the tags MOOD of #1; mkv can",
        "lkdn-video: warning: mov can't hold the dispositions of #2; mkv can",
    ]
    assert [c.kind for c in copies(tmp_path / "b.mov")] == ["audio", "audio"]


def test_a_damaged_file_is_salvaged(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_clip(tmp_path / "whole.mkv", Clip(size=(64, 48), pts=range(40)))
    here, there = tmp_path / "a.mkv", tmp_path / "b.mkv"
    here.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert lkdn_video(here, there, "-q") == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"lkdn-video: warning: {here}: the file ends before its time; the rest is in the output\n"
    )
    kept = len(times(there))
    assert 5 < kept < 35
    assert times(there) == times(whole)[:kept]


def test_an_empty_packet_is_not_the_end(tmp_path: Path, lkdn_video: Command) -> None:
    """It says that the picture before stays, which Theora does often."""
    clip = Clip(codec="mjpeg", pix_fmt="yuvj420p", options={}, pts=range(12))
    here, there = make_clip(tmp_path / "a.mov", clip), tmp_path / "b.mkv"
    data = bytearray(here.read_bytes())
    sizes = data.index(b"stsz") + 16  # after it: version, flags, one size for all, count
    third, fourth = struct.unpack_from(">2I", data, sizes + 8)
    struct.pack_into(">2I", data, sizes + 8, third + fourth, 0)
    here.write_bytes(data)
    assert lkdn_video(here, there) == 0
    assert times(there) == [Fraction(i, 25) for i in range(12) if i != 3]


def test_holes_in_a_file_are_salvaged(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(size=(64, 48), codec="mjpeg", pix_fmt="yuvj420p", options={}, pts=range(12))
    here, there = make_clip(tmp_path / "a.avi", clip), tmp_path / "b.mkv"
    data = bytearray(here.read_bytes())
    with av.open(str(here)) as container:
        fifth = [p for p in container.demux(video=0) if p.size][4]
    data[fifth.pos : fifth.pos + fifth.size] = bytes(fifth.size)
    here.write_bytes(data)
    assert lkdn_video(here, there) == 3
    assert len(times(there)) == 11


def test_an_output_is_overwritten_when_asked(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    there.write_text("old")
    assert lkdn_video(here, there, "-y") == 0
    assert len(times(there)) == 7


@pytest.mark.posix
@pytest.mark.parametrize("old", [None, "old"])
def test_an_output_behind_a_link_is_written_there(
    tmp_path: Path, lkdn_video: Command, old: str | None
) -> None:
    here, there = make_clip(tmp_path / "a.mp4"), tmp_path / "other" / "b.mp4"
    there.parent.mkdir()
    if old:
        there.write_text(old)
    link = tmp_path / "b.mp4"
    link.symlink_to("other/b.mp4")
    assert lkdn_video(here, link) == (2 if old else 0)
    assert lkdn_video(here, link, "-y") == 0
    assert link.is_symlink()
    assert len(times(there)) == 7
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.mp4", "b.mp4", "b.mp4", "other"]


def test_the_summary_is_one_line_on_stderr(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = make_clip(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    assert lkdn_video(here, there) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        f"lkdn-video: {there}: 7 frames of 68x52 by nearest-x2.safetensors, "
    )
    assert said.err.count("\n") == 1


def test_names_are_only_names(
    tmp_path: Path, lkdn_video: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("concat:it's 100%d %03d; $(x) ü.mkv")
    make_clip(tmp_path / "plain.mkv").rename(name)
    assert lkdn_video(name, Path("crypto:out %02d.mkv")) == 0
    assert len(times(tmp_path / "crypto:out %02d.mkv")) == 7


def test_the_sample_is_what_its_card_says(tmp_path: Path, lkdn_video: Command) -> None:
    assert SAMPLE.stat().st_size < 400_000
    there = tmp_path / "flower.mp4"
    assert lkdn_video(SAMPLE, there, "--preset", "ultrafast") == 0
    new = frames(there)
    assert (len(new), new[0].width, new[0].height) == (36, 480, 268)
    assert colour(new[0]) == (1, 1, 1, 1, 1)
    assert copies(there) == copies(SAMPLE)
    assert len(copies(there)[0].packets) == 58
