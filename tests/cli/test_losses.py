"""What the output has no place for is named before the work starts, and nothing else is."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from lkdn_media.frame_times import times_vary
from lkdn_media.losses import label_losses
from lkdn_media.probe import probe
from lkdn_media.source import Span
from lkdn_media.tags import copied_tags
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, copies, frames, starts_with_its_index
from tests.cli.test_fields import FLAGGED

CREATED = "2020-01-02T03:04:05.000000Z"
LIGHT = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,1)"
HDR10 = Clip(
    size=(64, 48),
    pix_fmt="yuv420p10le",
    codec="libx265",
    options={"x265-params": f"log-level=none:cutree=0:hdr10=1:{LIGHT}:max-cll=1000,400"},
    tags=Tags(9, 16, 9),
)


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [
        line.removeprefix("lkdn-video: warning: ") for line in capsys.readouterr().err.splitlines()
    ]


def test_the_time_of_a_stream_has_no_place_in_matroska(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """MP4 has one time for the file and, in its reader's eyes, for every stream."""
    here = make_clip(tmp_path / "a.mp4", Clip(metadata={"creation_time": CREATED}))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    assert warnings(capsys) == ["matroska can't hold the tags creation_time of #0; mp4 can"]
    assert lkdn_video(here, tmp_path / "b.mp4", "-q") == 0
    assert warnings(capsys) == []
    for name, kept in (("b.mkv", None), ("b.mp4", CREATED)):
        with av.open(str(tmp_path / name)) as result:
            assert result.streams[0].metadata.get("creation_time") == kept
            assert result.metadata["creation_time"] == CREATED


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_tags_of_cameras_stay(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """A file that has its time as a tag too is read as if there were two."""
    tags = {"creation_time": CREATED, "title": "T", "com.apple.quicktime.make": "Some"}
    keys = {"movflags": "use_metadata_tags"}
    here = make_clip(tmp_path / f"a.{ending}", Clip(metadata=tags, container_options=keys))
    for source, target in (("a", "b"), ("b", "c")):
        there = tmp_path / f"{target}.{ending}"
        assert lkdn_video(here.with_stem(source), there, "-q") == 0
        assert warnings(capsys) == []
        assert starts_with_its_index(there)
        with av.open(str(there)) as result:
            assert copied_tags(result.metadata) == tags
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    with av.open(str(tmp_path / "b.mkv")) as result:
        assert result.metadata["creation_time"] == CREATED


def test_a_cover_goes_before_tags_of_cameras(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """MP4 has one place for either."""
    clip = Clip(metadata={"com.android.version": "11", "title": "T"}, cover=True)
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, tmp_path / "b.mp4", "-q") == 0
    assert warnings(capsys) == ["mp4 can't hold the tags COM.ANDROID.VERSION; mkv can"]
    with av.open(str(tmp_path / "b.mp4")) as result:
        assert len(result.streams) == 2
        assert result.metadata["title"] == "T"


def test_tags_have_no_place_in_gif(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(metadata={"title": "T"}, chapters=[(0, 100, "one")]))
    assert lkdn_video(here, tmp_path / "b.gif", "--dry-run") == 0
    assert "gif can't hold the tags title, of chapters; mkv can" in warnings(capsys)


@pytest.mark.parametrize("rotation", [None, 0, 90, 180])
@pytest.mark.parametrize("target", ["b.gif", "-", "b.mkv"])
def test_rotation_has_no_place_beside_videos(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    target: str,
    rotation: int | None,
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip(tags=Tags.none(), rotation=rotation))
    path = Path(target) if target == "-" else tmp_path / target
    assert lkdn_video(here, path, "--dry-run") == 0
    lost = "rotation or mirroring is lost in "
    line = next((line for line in warnings(capsys) if line.startswith(lost)), "")
    assert bool(line) == (bool(rotation) and target == "-")
    if line:
        undoes = {90: "transpose=cclock", 180: "hflip,vflip"}[rotation or 0]
        assert f"--ffmpeg-vf {undoes} makes up for it" in line


def test_gif_counts_in_hundredths(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    slower = "gif shows 100 pictures a second at most, so 120 play slower; apng keeps them"
    for rate in (100, 120):
        clip = Clip(rate=Fraction(rate), time_base=Fraction(1, rate))
        here = make_clip(tmp_path / "a.mp4", clip)
        assert lkdn_video(here, tmp_path / "b.gif", "--dry-run") == 0
        assert (slower in warnings(capsys)) == (rate == 120)


def test_captions_of_frames_left_out(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", replace(FLAGGED, captions=True))
    line = "closed captions of the frames that --ivtc leaves out are lost; without it all are kept"
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--ivtc") == 0
    assert line in warnings(capsys)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    assert line not in warnings(capsys)


@pytest.mark.parametrize(
    ("clip", "options", "lines"),
    [
        (Clip(tags=Tags.none()), (), []),
        (
            Clip(),
            (),
            [
                "yuv4mpegpipe has no place for the colour tags primaries 1, transfer 1, matrix 1; "
                "mkv has"
            ],
        ),
        (
            Clip(),
            ("-f", "rawvideo"),
            [
                "rawvideo has no place for the colour tags primaries 1, transfer 1, matrix 1, "
                "color_range 1; mkv has"
            ],
        ),
        (
            Clip(tags=Tags.none(), pts=(0, 1, 2, 5, 6, 7, 8)),
            (),
            [
                "yuv4mpegpipe has a frame rate only, and the times of the frames vary; mkv keeps "
                "them"
            ],
        ),
    ],
    ids=["nothing", "colour", "raw", "times"],
)
def test_a_pipe_loses_colour_and_times(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    clip: Clip,
    options: tuple[str, ...],
    lines: list[str],
) -> None:
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, Path("-"), "--dry-run", *options) == 0
    assert warnings(capsys) == lines


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv411p", "yuv420p", "gray"])
def test_coarser_chroma_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], pix_fmt: str
) -> None:
    clip = Clip(codec="ffv1", options={}, pix_fmt=pix_fmt, pts=range(1))
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", "mpeg4") == 0
    told = [f"{pix_fmt} is written as yuv420p, with coarser chroma"]
    assert warnings(capsys) == (told if pix_fmt in ("yuv422p", "yuv411p") else [])


@pytest.mark.parametrize("target", ["-", "%d.png", "b.gif"])
def test_hdr10_has_no_place_beside_a_file(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    here = make_clip(tmp_path / "a.mkv", HDR10)
    assert frames(here)[0].color_trc == 16
    path = Path(target) if target == "-" else tmp_path / target
    assert lkdn_video(here, path, "--dry-run") == 0
    said = "\n".join(warnings(capsys))
    assert "mastering display and content light of HDR10 are lost" in said
    assert "colour tags primaries 9, transfer 16" in said


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(60000, 1001)])
def test_rounded_times_are_even(tmp_path: Path, rate: Fraction) -> None:
    clip = Clip(rate=rate, time_base=1 / rate, pts=range(40))
    assert not times_vary(probe(make_clip(tmp_path / "a.mkv", clip)))
    late = replace(clip, pts=(*range(30), *range(35, 45)))
    source = probe(make_clip(tmp_path / "b.mp4", late))
    assert times_vary(source)
    first = round(1 / (rate * source.time_base))
    assert not times_vary(replace(source, span=Span(0, 20 * first)))


def test_a_date_that_nobody_wrote_is_none() -> None:
    """As FFmpeg reads WMV without one."""
    assert copied_tags({"creation_time": "1970-01-01T00:00:00.000000Z", "a": "b"}) == {"a": "b"}
    assert copied_tags({"creation_time": CREATED}) == {"creation_time": CREATED}


@pytest.mark.parametrize(
    ("language", "in_mp4", "in_mov"),
    [
        ("deu", "deu", "ger"),
        ("fre", "fre", "fra"),
        ("jpn", "jpn", "jpn"),
        ("gsw", "gsw", None),
        ("en-US", None, None),
    ],
)
def test_languages_keep_a_code_or_are_named(  # noqa: PLR0917
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    language: str,
    in_mp4: str | None,
    in_mov: str | None,
) -> None:
    """QuickTime's list has one of two codes, or none."""
    here = make_clip(tmp_path / "a.mkv", Clip(audio=({"language": language},)))
    for container, kept in (("mp4", in_mp4), ("mov", in_mov), ("matroska", language)):
        there = tmp_path / f"b.{container[:3].replace('mat', 'mkv')}"
        assert lkdn_video(here, there, "-q") == 0
        said = [] if kept else [f"{container} can't hold the tags language {language} of #1"]
        assert [line.partition(";")[0] for line in warnings(capsys)] == said
        with av.open(str(there)) as result:
            assert result.streams.audio[0].metadata.get("language", "und") == (kept or "und")


def test_uses_that_webm_has_no_place_for_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = ({}, {}, {})  # the first is the default, the others are comments
    here = make_clip(tmp_path / "a.mkv", Clip(audio=tracks, audio_codec="libopus"))
    assert lkdn_video(here, tmp_path / "b.webm", "-q") == 0
    assert warnings(capsys) == ["webm can't hold the dispositions of #2, #3; mkv can"]


@pytest.mark.parametrize(
    ("ending", "use", "said"),
    [
        ("mp4", Disposition.original, "mp4 can't hold the dispositions of #1; mkv can"),
        ("mp4", Disposition.karaoke, "mp4 can't hold the dispositions of #1"),
        ("mkv", Disposition.clean_effects, "matroska can't hold the dispositions of #1"),
        ("mkv", Disposition.original | Disposition.hearing_impaired, None),
        ("mp4", Disposition.comment | Disposition.visual_impaired, None),
    ],
)
def test_uses_are_kept_or_named(  # noqa: PLR0917
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    use: Disposition,
    said: str | None,
) -> None:
    """Of what comes from a container that holds them all, which no file does."""
    here = make_clip(tmp_path / "a.mkv", Clip(audio=({},)))
    source = probe(here)
    streams = tuple(replace(s, disposition=use) if s.index else s for s in source.streams)
    source = replace(source, streams=streams)
    container = {"mkv": "matroska"}.get(ending, ending)
    assert label_losses(source, container=container, copied=[1]) == ([said] if said else [])
    if said is None:
        there = tmp_path / f"b.{ending}"
        with av.open(str(here)) as old, av.open(str(there), "w") as out:
            stream = out.add_stream_from_template(old.streams.audio[0])
            stream.disposition = use
            for packet in old.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
        with av.open(str(there)) as result:
            assert result.streams[0].disposition & use == use


def test_a_matrix_that_is_not_known(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(tags=Tags(matrix=12)))
    assert lkdn_video(here, tmp_path / "b.mkv") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"lkdn-video: {here}: matrix: bt709, ")
    assert "got 'chroma-derived-nc'; --ffmpeg-vf setparams=colorspace=bt709 says" in said


@pytest.mark.parametrize(
    ("codec", "able"), [("timed_id3", []), ("klv", []), ("bin_data", ["mp4", "mov"])]
)
def test_data_stay_where_they_can_be_told_from_others(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    able: list[str],
) -> None:
    """MP4's muxer takes any, writes what nobody can read of some, and fails at last for others."""
    here = tmp_path / ("a.mp4" if able else "a.ts")
    with av.open(str(make_clip(tmp_path / "v.mp4"))) as film, av.open(str(here), "w") as out:
        video = out.add_stream_from_template(film.streams.video[0])
        data = out.add_mux_stream(codec)
        if able:
            data.codec_tag = "gpmd"  # as cameras write them
        for number, packet in enumerate(p for p in film.demux() if p.size):
            packet.stream = video
            out.mux(packet)
            if number % 3 == 0:
                note = av.Packet(b"ID3\4\0\0\0\0\0\x0fTXXX\0\0\0\5\0\0\3a\0bc")
                note.stream, note.time_base = data, Fraction(1, 25)
                note.pts = note.dts = number
                note.duration = 3
                out.mux(note)
    for ending in ("mp4", "mov", "mkv"):
        there = tmp_path / f"b.{ending}"
        assert lkdn_video(here, there, "-q") == 0
        container = "matroska" if ending == "mkv" else ending
        others = " or ".join(able) or "no container here"
        lines = [f"dropped, since {container} can't hold them: #1 data {codec}; {others} can"]
        assert warnings(capsys) == ([] if ending in able else lines)
        assert [len(copy.packets) for copy in copies(there)] == ([3] if ending in able else [])


def test_the_reel_of_a_timecode_stays(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "a.mov"
    with av.open(str(make_clip(tmp_path / "v.mp4"))) as film, av.open(str(here), "w") as out:
        video = out.add_stream_from_template(film.streams.video[0])
        video.metadata.update({"timecode": "01:00:00:00", "reel_name": "R001"})
        for packet in film.demux():
            if packet.size:
                packet.stream = video
                out.mux(packet)
    for ending, stream in (("mov", 1), ("mkv", 0)):
        assert lkdn_video(here, tmp_path / f"b.{ending}", "-q") == 0
        with av.open(str(tmp_path / f"b.{ending}")) as result:
            tags = {k.lower(): v for k, v in result.streams[stream].metadata.items()}
        assert tags["reel_name"] == "R001"
    assert warnings(capsys) == []
    assert lkdn_video(here, tmp_path / "b.mp4", "-q") == 0
    assert warnings(capsys) == ["mp4 can't hold the tags reel_name of #0; mkv can"]


def test_data_of_an_unknown_kind_are_dropped(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """As phones have: MOV's muxer takes them, and does not say what they are."""
    here = make_clip(tmp_path / "a.mp4", Clip(subtitles="mov_text"))
    data = here.read_bytes().replace(b"tx3g", b"mebx").replace(b"sbtl", b"meta")
    here.with_suffix(".mov").write_bytes(data)
    assert lkdn_video(here.with_suffix(".mov"), tmp_path / "b.mov", "-q") == 0
    assert warnings(capsys) == [
        "dropped, since mov can't hold them: #1 data ger; no container here can"
    ]
    assert copies(tmp_path / "b.mov") == []
