"""How long pictures are shown, where that varies, and until when subtitles are."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lkdn_media.mp4_head import track_end
from lkdn_media.probe import probe
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies
from tests.cli.test_subtitles import beside, with_lines

#: Seconds at which pictures of a slide show come, and its end.
TIMES = (0, 3, 9, 18, 30, 45)
END = 47
FAST = ("--codec", "libx264", "--preset", "ultrafast")
SLIDES = Clip(
    options={"qp": "20", "bf": "2"},
    pts=[1000 * time for time in TIMES],
    durations=[1000 * (b - a) for a, b in zip(TIMES, (*TIMES[1:], END), strict=True)],
    time_base=Fraction(1, 1000),
)


def lasting(path: Path) -> list[tuple[Fraction, Fraction]]:
    """Times of pictures and when each of a Matroska file ends, in order."""
    with av.open(str(path)) as file:
        base = file.streams.video[0].time_base
        packets = [p for p in file.demux(video=0) if p.size]
    return sorted((p.pts * base, (p.pts + p.duration) * base) for p in packets)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("segment", ["0", "2"])
def test_slides_are_shown_as_long_as_they_were(
    tmp_path: Path, lkdn_video: Command, ending: str, segment: str
) -> None:
    """MP4's packets last by the order of decoding, which is another with B-frames."""
    here, there = make_clip(tmp_path / f"a.{ending}", SLIDES), tmp_path / "b.mkv"
    if ending != "mkv":
        with av.open(str(here)) as file:
            assert any(p.pts != p.dts for p in file.demux(video=0) if p.size)
        assert track_end(here, 1) == END
    assert lkdn_video(here, there, *FAST, "--segment", segment) == 0
    assert lasting(there) == list(zip(TIMES, (*TIMES[1:], END), strict=True))
    assert lkdn_video(here, tmp_path / "c.mp4", *FAST) == 0
    assert track_end(tmp_path / "c.mp4", 1) == END


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize(
    ("part", "expected"),
    [("0-7", [(0, 3), (3, 7)]), ("9-20", [(0, 9), (9, 11)]), ("30-40", [(0, 10)])],
)
def test_the_last_picture_of_a_part_ends_with_it(
    tmp_path: Path, lkdn_video: Command, ending: str, part: str, expected: list[tuple[int, int]]
) -> None:
    start, end = part.split("-")
    here, there = make_clip(tmp_path / f"a.{ending}", SLIDES), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *FAST, "--start", start, "--end", end) == 0
    assert lasting(there) == expected


def test_where_tracks_end_is_read_of_whole_heads_only(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", SLIDES)
    assert track_end(path, 2) is None
    data = path.read_bytes()
    place = data.index(b"moov")
    for damaged in (data[: place + 40], data[: place - 4], b"", data.replace(b"tkhd", b"free")):
        path.write_bytes(damaged)
        assert track_end(path, 1) is None
    long = struct.pack(">I4sQ", 1, b"free", 20) + b"1234"
    path.write_bytes(long + data)
    assert track_end(path, 1) == END
    fragmented = Clip(container_options={"movflags": "frag_keyframe+empty_moov"})
    assert track_end(make_clip(tmp_path / "f.mp4", fragmented), 1) is None


def test_a_tag_of_a_longer_file_is_not_believed(tmp_path: Path, lkdn_video: Command) -> None:
    """Programs that cut Matroska files may copy it along."""
    here = make_clip(tmp_path / "a.mkv", Clip())
    data = here.read_bytes()
    assert data.count(b"00:00:00.280000000") == 1
    here.write_bytes(data.replace(b"00:00:00.280000000", b"00:01:00.280000000"))
    assert probe(here).declared_end == pytest.approx(0.28)
    assert lkdn_video(here, tmp_path / "b.mkv", *FAST) == 0


def test_a_line_that_began_long_before_a_part(tmp_path: Path, lkdn_video: Command) -> None:
    make_clip(tmp_path / "long.mkv", Clip(pts=range(0, 6000, 60), options={"qp": "40", "g": "5"}))
    with_lines(tmp_path, [(1000, 200_000, b"Sign")])
    here = beside(tmp_path / "long.mkv", tmp_path / "lines.srt", tmp_path / "b.mkv")
    there = tmp_path / "c.mkv"
    assert lkdn_video(here, there, *FAST, "--start", "144", "--end", "149") == 0
    (track,) = [c for c in copies(there) if c.kind == "subtitle"]
    assert track.packets == [(b"Sign", 0, 5)]


def spu(seconds: float) -> bytes:
    """A subtitle of a DVD, 8x2 pixels, that ends itself after ``seconds``."""
    pixels, fields = b"\x00\x01" * 2, struct.pack(">HH", 4, 6)
    first = b"\x01\x03\x32\x10\x04\xff\xff\x05\x00\x00\x07\x00\x00\x01\x06" + fields + b"\xff"
    place = 4 + len(pixels)
    second = place + 4 + len(first)
    control = struct.pack(">HH", 0, second) + first
    control += struct.pack(">HH", round(seconds * 90000 / 1024), second) + b"\x02\xff"
    return struct.pack(">HH", place + len(control), place) + pixels + control


@pytest.mark.parametrize(("start", "shown"), [("0.4", True), ("1.2", False)])
def test_a_subtitle_of_a_dvd_ends_by_itself(
    tmp_path: Path, lkdn_video: Command, start: str, shown: bool
) -> None:
    video = make_clip(
        tmp_path / "v.mpg", Clip(codec="mpeg2video", options={"g": "5"}, pts=range(50))
    )
    here, there = tmp_path / "a.vob", tmp_path / "b.mkv"
    with av.open(str(video)) as source, av.open(str(here), "w", format="vob") as out:
        pictures = out.add_stream_from_template(source.streams.video[0])
        subtitles = out.add_stream("dvdsub")
        subtitles.time_base = Fraction(1, 90000)
        packets = [p for p in source.demux(video=0) if p.size]
        begin = packets[0].pts
        for number, packet in enumerate(packets):
            if number == 5:
                text = av.Packet(spu(0.6))
                text.stream, text.time_base = subtitles, Fraction(1, 90000)
                text.pts = text.dts = begin + 18000
                out.mux(text)
            packet.stream = pictures
            out.mux(packet)
    assert lkdn_video(here, there, *FAST, "--start", start) == 0
    with av.open(str(there)) as result:
        packets = [p for p in result.demux(subtitles=0) if p.size]
    assert [float(p.duration * p.time_base) for p in packets] == (
        [pytest.approx(0.4, abs=0.05)] if shown else []
    )
