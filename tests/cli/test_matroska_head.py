"""What FFmpeg's reader of Matroska keeps to itself: found in the file's head, kept or named."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lkdn_core.errors import LKDNError
from lkdn_media.ebml import top_level
from lkdn_media.matroska_chapters import write_chapters
from lkdn_media.matroska_head import MatroskaHead, read_head
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command

CHAPTERS, TAGS = b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67"
VOID = "ec"
CLIP = Clip(chapters=[(0, 100, "x" * 400)], metadata={"comment": "y" * 400}, audio=[{}])


def element(name: str, *contents: bytes) -> bytes:
    data = b"".join(contents)
    return bytes.fromhex(name) + (1 << 28 | len(data)).to_bytes(4) + data


def chapter(number: int, start: float, *more: bytes) -> bytes:
    uid = element("73c4", bytes([number]))
    return element("b6", uid, element("91", round(start * 1e9).to_bytes(8)), *more)


def edition(*contents: bytes) -> bytes:
    return element("45b9", *contents)


def named(title: str) -> bytes:
    return element("80", element("85", title.encode()), element("437c", b"eng"))


def tag(name: str, value: str, target: int = 50) -> bytes:
    simple = element("67c8", element("45a3", name.encode()), element("4487", value.encode()))
    return element("7373", element("63c0", element("68ca", bytes([target]))), simple)


NAME = element("45a3", b"ACTOR") + element("4487", b"A")


def tag_of_chapter(number: int) -> bytes:
    simple = element("67c8", element("45a3", b"ACTOR"), element("4487", b"A"))
    return element("7373", element("63c0", element("63c4", bytes([number]))), simple)


def with_contents(path: Path, name: bytes, *contents: bytes) -> Path:
    """``path`` with other contents, padded to the same length, in its element ``name``."""
    data = path.read_bytes()
    index_entry = b"\x53\xab\x84" + name  # of the file's index
    at = data.index(name, data.index(index_entry) + len(index_entry)) + len(name)
    length = 9 - data[at].bit_length()
    start, size = at + length, int.from_bytes(data[at : at + length]) - (1 << 7 * length)
    new = b"".join(contents)
    padding = element(VOID, bytes(size - len(new) - 5))
    path.write_bytes(data[:start] + new + padding + data[start + size :])
    return path


#: The layout of chapters that FFmpeg does not show, and what is said where they can't be kept.
UNREAD_CHAPTERS = [
    (
        edition(chapter(1, 0, named("a"), chapter(2, 0, named("b")))),
        ["1 of 2 chapters (nested, hidden or out of order)"],
    ),
    (
        edition(chapter(1, 0, named("a"))) + edition(chapter(2, 0.1, named("b"))),
        ["that the chapters are of 2 editions"],
    ),
    (
        edition(element("45dd", b"\1"), chapter(1, 0.1), chapter(2, 0)),
        [
            "1 of 2 chapters (nested, hidden or out of order)",
            "the order that the chapters are to be played in",
        ],
    ),
    (edition(chapter(1, 0, named("One"), named("Eins"))), ["second names of chapters"]),
]
IDS = ["nested", "editions", "ordered", "names"]


@pytest.mark.parametrize(
    ("contents", "lost"),
    [
        (tag("ACTOR", "A") + tag("ARTIST", "B"), []),
        (
            tag("TITLE", "A") + tag("TITLE", "B", target=70),
            ["which tags are of a series, a chapter or a scene can't be kept"],
        ),
        (
            element("7373", element("63c0"), element("67c8", NAME, element("67c8", NAME))),
            ["which tags belong to others can't be kept"],
        ),
        (tag("ENCODER", "A") + tag("ENCODER", "B"), []),  # the new file has its own
        (
            tag("ACTOR", "A") + tag("ACTOR", "B"),
            ["all values but one of the tags ACTOR can't be kept"],
        ),
    ],
)
def test_what_tags_say_is_named(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    contents: bytes,
    lost: list[str],
) -> None:
    here = with_contents(make_clip(tmp_path / "a.mkv", CLIP), TAGS, contents)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"lkdn-video: warning: {line}" for line in lost]


@pytest.mark.parametrize("other", ["The title", "A series"])
def test_the_title_is_the_files_own(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    """FFmpeg shows the tag in its place."""
    clip = replace(CLIP, metadata=CLIP.metadata | {"title": "The title"})
    here = with_contents(make_clip(tmp_path / "a.mkv", clip), TAGS, tag("TITLE", other))
    assert lkdn_video(here, tmp_path / "b.mkv") == 0
    lost = f"the tag TITLE, {other}, beside the file's title, can't be kept"
    assert (lost in capsys.readouterr().err) == (other != "The title")
    with av.open(str(tmp_path / "b.mkv")) as after:
        assert after.metadata["title"] == "The title"


def test_chapters_too_deep_within_each_other_are_not_read(tmp_path: Path) -> None:
    """Each level would be held in memory."""
    inner = chapter(1, 0)
    for number in range(2, 20):
        inner = chapter(number, 0, inner)
    clip = replace(CLIP, chapters=[(0, 100, "x" * 900)])
    here = with_contents(make_clip(tmp_path / "a.mkv", clip), CHAPTERS, edition(inner))
    assert read_head(here, streams=2, chapters=1) == MatroskaHead()


def in_segment(path: Path, name: bytes) -> bytes:
    with path.open("rb") as file:
        return top_level(file, frozenset({name})).get(name, b"")


@pytest.mark.parametrize("segment", ["0", "3"])
@pytest.mark.parametrize("contents", [contents for contents, _ in UNREAD_CHAPTERS], ids=IDS)
def test_chapters_of_matroska_stay_as_they_are(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    contents: bytes,
    segment: int,
) -> None:
    here = with_contents(make_clip(tmp_path / "a.mkv", CLIP), CHAPTERS, contents)
    there = tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--scale", "2", "--segment", segment, "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert in_segment(there, CHAPTERS) == in_segment(here, CHAPTERS)
    with av.open(str(here)) as old, av.open(str(there)) as new:
        assert new.chapters() == old.chapters() != []
        assert new.metadata["COMMENT"] == "y" * 400
        assert [s.type for s in new.streams] == ["video", "audio"]
    data = there.read_bytes()
    size = data.index(b"\x18\x53\x80\x67") + 4
    assert int.from_bytes(data[size + 1 : size + 8]) == len(data) - size - 8


def test_chapters_come_into_a_file_without_any(tmp_path: Path) -> None:
    here, (contents, _) = make_clip(tmp_path / "a.mkv", Clip()), UNREAD_CHAPTERS[0]
    with av.open(str(here)) as before:
        packets = [bytes(p) for p in before.demux()]
        assert before.chapters() == []
    for _ in range(2):  # the second time in place of the first
        write_chapters(here, contents)
        assert in_segment(here, CHAPTERS) == contents
    with av.open(str(here)) as after:
        assert [c["metadata"] for c in after.chapters()] == [{"title": "a"}]
        assert [bytes(p) for p in after.demux()] == packets


def test_chapters_into_no_such_file_are_refused(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.nut"):
        with pytest.raises(LKDNError, match="Matroska"):
            write_chapters(make_clip(tmp_path / name, Clip()), UNREAD_CHAPTERS[0][0])


@pytest.mark.parametrize(("contents", "lost"), UNREAD_CHAPTERS, ids=IDS)
def test_chapters_that_can_not_stay_are_named(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    contents: bytes,
    lost: list[str],
) -> None:
    here = with_contents(make_clip(tmp_path / "a.mkv", CLIP), CHAPTERS, contents)
    assert lkdn_video(here, tmp_path / "b.mp4", "--dry-run") == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"lkdn-video: warning: mp4 can't hold {line}; mkv can" for line in lost]
    assert lkdn_video(here, tmp_path / "b.mkv", "--frames", "2", "--dry-run") == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"lkdn-video: warning: {line} can't be kept in a part" for line in lost]


def test_chapters_that_others_are_bound_to_are_ffmpegs(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """By numbers of tracks or of chapters, which FFmpeg makes anew."""
    track = element("8f", element("89", b"\1"))
    bound = (
        edition(chapter(1, 0, named("a"), track)),
        edition(chapter(1, 0, named("a"), named("b"))),
    )
    for contents, tags in zip(bound, (b"", tag_of_chapter(1)), strict=True):
        here = with_contents(make_clip(tmp_path / "a.mkv", CLIP), CHAPTERS, contents)
        if tags:
            with_contents(here, TAGS, tags)
        assert lkdn_video(here, tmp_path / "b.mkv", "--scale", "2", "--quiet", "-y") == 0
        with av.open(str(tmp_path / "b.mkv")) as new:
            assert len(new.chapters()) == 1
        assert in_segment(tmp_path / "b.mkv", CHAPTERS) != in_segment(here, CHAPTERS)
    assert capsys.readouterr().err == (
        "lkdn-video: warning: second names of chapters can't be kept\n"
    )


def with_fields(path: Path, title: str) -> Path:
    """A file of whose second sound is said that it is off, and a language finer than ISO 639-2.

    They are in the place of a long title.
    """
    filled = "x" * 120
    streams = [{}, {"title": filled}, {"title": title}]
    make_clip(path, Clip(audio=streams, sar=Fraction(4, 3), cover=True))
    fields = element("22b59d", b"de-AT") + element("b9", b"\0")
    data, old = path.read_bytes(), b"\x53\x6e\xf8" + filled.encode()
    assert data.count(old) == 1
    own = element("536e", title.encode()) * bool(title)
    void = element(VOID, bytes(len(old) - len(own + fields) - 5))
    path.write_bytes(data.replace(old, own + fields + void))
    return path


@pytest.mark.parametrize("title", ["", "Ö" * 20], ids=["untitled", "titled"])
def test_what_tracks_say_stays_or_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], title: str
) -> None:
    here, there = with_fields(tmp_path / "a.mkv", title), tmp_path / "b.mkv"
    # FFV1 does not carry the shape of pixels, which is written into the same element.
    assert lkdn_video(here, there, "--scale", "2", "--codec", "ffv1", "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert read_head(there, streams=4, chapters=0) == read_head(here, streams=4, chapters=0)
    assert read_head(there, streams=4, chapters=0).tracks[2] != b""
    with av.open(str(there)) as new:
        assert [s.metadata.get("title", "") for s in new.streams.audio] == ["", title, title]
        assert new.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert sum(1 for _ in new.decode(audio=1)) > 0
    assert lkdn_video(here, tmp_path / "b.mp4", "--dry-run") == 0
    assert capsys.readouterr().err.splitlines() == [
        "lkdn-video: warning: mp4 can't hold what follows the first part of the languages de-AT of "
        "#2; mkv can",
        "lkdn-video: warning: mp4 can't hold that #2 is switched off; mkv can",
    ]


def test_a_pipe_is_told_of_tracks_but_not_of_nested_chapters(
    tmp_path: Path, lkdn_video: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    here, there = with_fields(tmp_path / "a.mkv", "T"), tmp_path / "b.mkv"
    assert lkdn_video(here, Path("-"), "--quiet", "-f", "mkv") == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    there.write_bytes(out)
    assert read_head(there, streams=4, chapters=0) == read_head(here, streams=4, chapters=0)
    contents, (lost,) = UNREAD_CHAPTERS[0]
    with_contents(make_clip(here, CLIP), CHAPTERS, contents)
    assert lkdn_video(here, Path("-"), "--dry-run", "-f", "mkv") == 0
    assert capfdbinary.readouterr().err.decode() == (f"lkdn-video: warning: {lost} can't be kept\n")


def test_a_damaged_head_says_nothing(tmp_path: Path) -> None:
    here = make_clip(tmp_path / "a.mkv", CLIP)
    lost = ("1 of 1 chapters (nested, hidden or out of order)",)
    assert read_head(here, streams=2, chapters=0).unread_chapters == lost
    nothing, data, whole = MatroskaHead(), here.read_bytes(), in_segment(here, CHAPTERS)
    for length in [*range(0, 700, 7), *range(700, len(data), 101)]:
        here.write_bytes(data[:length])
        head = read_head(here, streams=2, chapters=1)
        assert replace(head, tracks=(), chapters=b"") == nothing
        assert head.chapters in (b"", whole)
    for contents in (b"\0", b"\x45", b"\x45\xb9", b"\x45\xb9\xff", b"\x45\xb9\x01" + b"\xff" * 7):
        here.write_bytes(data)
        damaged = with_contents(here, CHAPTERS, contents)
        head = read_head(damaged, streams=2, chapters=1)
        assert replace(head, tracks=()) == nothing
    deep = b""
    for _ in range(3000):
        deep = element("b6", deep)
    segment = data[: data.index(b"\x18\x53\x80\x67")]
    segment += element("18538067", element(CHAPTERS.hex(), edition(deep)))
    here.write_bytes(segment)
    assert read_head(here, streams=2, chapters=1) == nothing
