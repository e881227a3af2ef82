"""Subtitles that overlap, are far apart, or are pictures; and videos beside the video."""

import struct
from pathlib import Path

import av
import pytest

from lkdn_media.texts import OneAtATime, Text
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies

#: 50 frames of 25 a second.
CLIP = Clip(pts=range(50), options={"qp": "20", "preset": "veryfast", "g": "10", "bf": "2"})
Line = tuple[int, int, bytes]  # milliseconds


def beside(here: Path, other: Path, there: Path) -> Path:
    """The streams of both files in one."""
    with av.open(str(here)) as a, av.open(str(other)) as b, av.open(str(there), "w") as out:
        packets = []
        for source in (a, b):
            streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[packet.stream_index]
                    packets.append(packet)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            out.mux(packet)
    return there


def with_lines(folder: Path, lines: list[Line]) -> Path:
    """A clip with subtitles of text."""
    text = [
        f"{n}\n{_clock(a)} --> {_clock(b)}\n{t.decode()}\n\n" for n, (a, b, t) in enumerate(lines)
    ]
    (folder / "lines.srt").write_text("".join(text))
    clip = make_clip(folder / "clip.mkv", CLIP)
    return beside(clip, folder / "lines.srt", folder / "a.mkv")


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{rest:03}"


def shown(path: Path) -> list[Line]:
    """Texts of MP4 that are not empty."""
    (track,) = [c for c in copies(path) if c.kind == "subtitle"]
    return [
        (round(1000 * at), round(1000 * (at + length)), text[2 : 2 + int.from_bytes(text[:2])])
        for text, at, length in track.packets
        if text.strip(b"\0")
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([(3, 5, b"a"), (5, 8, b"b")], [(3, 5, b"a"), (5, 8, b"b")]),
        ([(0, 9, b"a"), (0, 3, b"b")], [(0, 3, b"a+b"), (3, 9, b"a")]),
        ([(0, 5, b"a"), (3, 9, b"b")], [(0, 3, b"a"), (3, 5, b"a+b"), (5, 9, b"b")]),
        (
            [(0, 9, b"a"), (1, 2, b"b"), (4, 5, b"c")],
            [(0, 1, b"a"), (1, 2, b"a+b"), (2, 4, b"a"), (4, 5, b"a+c"), (5, 9, b"a")],
        ),
        ([(4, 6, b"a"), (1, 5, b"late")], [(4, 5, b"a+late"), (5, 6, b"a")]),
        ([(2, 2, b"never"), (7, 3, b"backwards"), (8, 9, b"a")], [(8, 9, b"a")]),
    ],
)
def test_one_text_at_a_time(texts: list[Line], expected: list[Line]) -> None:
    head = b"0,0,Default,,0,0,0,,"
    merger, found = OneAtATime(), list[Text]()
    for start, end, text in texts:
        found += merger.add(Text(start, end, head + text))
    found += merger.rest()
    assert [t.dialogue[: len(head)] for t in found] == [head] * len(found)
    plain = [t.dialogue[len(head) :].replace(rb"\N{\r}", b"+") for t in found]
    assert [(t.start, t.end, p) for t, p in zip(found, plain, strict=True)] == expected


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_overlapping_lines_are_all_seen(tmp_path: Path, lkdn_video: Command, ending: str) -> None:
    here = with_lines(tmp_path, [(300, 1200, b"Talk"), (300, 600, b"Sign"), (1000, 1500, b"Third")])
    there = tmp_path / f"b.{ending}"
    assert lkdn_video(here, there) == 0
    assert shown(there) == [
        (300, 600, b"Talk\nSign"),
        (600, 1000, b"Talk"),
        (1000, 1200, b"Talk\nThird"),
        (1200, 1500, b"Third"),
    ]


def test_lines_far_apart_keep_their_times(tmp_path: Path, lkdn_video: Command) -> None:
    """MP4 counts gaps in 31 bits: half an hour of microseconds."""
    lines = [(500, 1000, b"first"), (2_400_000, 2_402_000, b"second"), (9_000_000, 9_000_100, b"x")]
    assert lkdn_video(with_lines(tmp_path, lines), tmp_path / "b.mp4") == 0
    assert shown(tmp_path / "b.mp4") == lines


def pgs(moments: list[tuple[float, float]]) -> bytes:
    """A .sup file with a picture of 8x4 from ... to, which a set without one ends."""

    def segment(seconds: float, kind: int, body: bytes) -> bytes:
        return b"PG" + struct.pack(">IIBH", int(seconds * 90000), 0, kind, len(body)) + body

    def composition(seconds: float, number: int, *, full: bool) -> bytes:
        state = 0x80 if full else 0
        head = struct.pack(">HHBHBBBB", 34, 26, 16, number, state, 0, 0, full)
        place = struct.pack(">HBBHH", 0, 0, 0, 4, 10) if full else b""
        window = struct.pack(">BBHHHH", 1, 0, 4, 10, 8, 4)
        return segment(seconds, 0x16, head + place) + segment(seconds, 0x17, window)

    pixels = b"\0\x88\x01\0\0" * 4  # each row a run of 8
    picture = struct.pack(">HBB", 0, 0, 0xC0) + (len(pixels) + 4).to_bytes(3)
    picture += struct.pack(">HH", 8, 4) + pixels
    made = b""
    for number, (start, end) in enumerate(moments):
        made += composition(start, 2 * number, full=True)
        made += segment(start, 0x14, bytes([0, 0, 1, 235, 128, 128, 255]))
        made += segment(start, 0x15, picture) + segment(start, 0x80, b"")
        made += composition(end, 2 * number + 1, full=False) + segment(end, 0x80, b"")
    return made


@pytest.mark.parametrize("ending", ["mkv", "m2ts"])
def test_a_picture_on_the_screen_when_a_part_begins(
    tmp_path: Path, lkdn_video: Command, ending: str
) -> None:
    """It has no duration: what comes next ends it. Transport streams have it in five packets."""
    make_clip(tmp_path / "clip.mkv", CLIP)
    (tmp_path / "a.sup").write_bytes(pgs([(0.2, 0.6), (0.8, 1.8)]))
    here = beside(tmp_path / "clip.mkv", tmp_path / "a.sup", tmp_path / f"a.{ending}")
    whole, empty = 60, 30  # bytes: no less, and no more
    for span, expected in (
        (("--start", "0.32", "--end", "1.2"), [(0.0, whole), (0.28, empty), (0.48, whole)]),
        (("--start", "0.68", "--end", "1.2"), [(0.0, empty), (0.12, whole)]),
        (("--start", "1.0", "--end", "1.2"), [(0.0, whole)]),
        (("--end", "0.4"), [(0.2, whole)]),
    ):
        there = tmp_path / "b.mkv"
        assert lkdn_video(here, there, "-y", *span) == 0
        (track,) = [c for c in copies(there) if c.kind == "subtitle"]
        assert [float(at) for _, at, _ in track.packets] == pytest.approx(
            [at for at, _ in expected], abs=0.0011
        )
        for (data, _, _), (_, size) in zip(track.packets, expected, strict=True):
            assert len(data) >= whole if size == whole else len(data) <= empty


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_second_video_is_cut_at_keyframes(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Frames 8 to 19 of 0 to 49; keyframes are 0, 10, 20 and so on."""
    first, second = (make_clip(tmp_path / f"{name}.mkv", CLIP) for name in ("first", "second"))
    here, there = beside(first, second, tmp_path / "a.mkv"), tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--start", "0.32", "--end", "0.8") == 0
    assert "cut at keyframes, from the first one in the part: #1 video h264" in (
        capsys.readouterr().err
    )
    with av.open(str(there)) as new, av.open(str(second)) as old:
        pictures = list(new.decode(new.streams.video[1]))
        originals = list(old.decode(video=0))[10:]
        times = [float((frame.pts or 0) * frame.time_base) for frame in pictures]
    # What the last ones lean on comes along.
    assert 10 <= len(pictures) <= 13
    assert times[:10] == pytest.approx([0.08 + 0.04 * i for i in range(10)], abs=0.0011)
    for new_frame, old_frame in zip(pictures[:10], originals, strict=False):
        assert (new_frame.to_ndarray() == old_frame.to_ndarray()).all()
