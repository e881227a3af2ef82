"""What FFmpeg's reader of Matroska keeps to itself: found in the file's head, and named."""

from pathlib import Path

import pytest

from lkdn_media.matroska_head import unread
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


@pytest.mark.parametrize(
    ("contents", "lost"),
    [
        (edition(chapter(1, 0, named("a")), chapter(2, 0.1, named("b"))), []),
        (
            edition(chapter(1, 0, named("a"), chapter(2, 0, named("b")))),
            ["1 of 2 chapters (nested, hidden or out of order) can't be kept"],
        ),
        (
            edition(chapter(1, 0, named("a"))) + edition(chapter(2, 0.1, named("b"))),
            ["that the chapters are of 2 editions can't be kept"],
        ),
        (
            edition(element("45dd", b"\1"), chapter(1, 0.1), chapter(2, 0)),
            [
                "1 of 2 chapters (nested, hidden or out of order) can't be kept",
                "the order that the chapters are to be played in can't be kept",
            ],
        ),
        (
            edition(chapter(1, 0, named("One"), named("Eins"))),
            ["second names of chapters can't be kept"],
        ),
        (tag("ACTOR", "A") + tag("ARTIST", "B"), []),
        (tag("TITLE", "A") + tag("TITLE", "B", target=70), []),
        (
            tag("ACTOR", "A") + tag("ACTOR", "B"),
            ["all values but one of the tags ACTOR can't be kept"],
        ),
    ],
)
def test_what_ffmpeg_does_not_show_is_named(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    contents: bytes,
    lost: list[str],
) -> None:
    name = CHAPTERS if contents.startswith(b"\x45\xb9") else TAGS
    here = with_contents(make_clip(tmp_path / "a.mkv", CLIP), name, contents)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"lkdn-video: warning: {line}" for line in lost]


def test_what_tracks_say_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the place of a long title: that a track is off, and a language finer than ISO 639-2."""
    title = "x" * 40
    here = make_clip(tmp_path / "a.mkv", Clip(audio=[{"title": title}]))
    fields = element("b9", b"\0") + element("22b59d", b"de-AT")
    data, old = here.read_bytes(), b"\x53\x6e\xa8" + title.encode()
    assert data.count(old) == 1
    void = element(VOID, bytes(len(old) - len(fields) - 5))
    here.write_bytes(data.replace(old, fields + void))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    assert capsys.readouterr().err.splitlines() == [
        "lkdn-video: warning: what follows the first part of the languages de-AT of #1 can't be "
        "kept",
        "lkdn-video: warning: that #1 is switched off can't be kept",
    ]


def test_a_damaged_head_says_nothing(tmp_path: Path) -> None:
    here = make_clip(tmp_path / "a.mkv", CLIP)
    assert unread(here, chapters=0) == ["1 of 1 chapters (nested, hidden or out of order)"]
    data = here.read_bytes()
    for length in [*range(0, 700, 7), *range(700, len(data), 101)]:
        here.write_bytes(data[:length])
        assert unread(here, chapters=1) == []
    for contents in (b"\0", b"\x45", b"\x45\xb9", b"\x45\xb9\xff", b"\x45\xb9\x01" + b"\xff" * 7):
        here.write_bytes(data)
        assert unread(with_contents(here, CHAPTERS, contents), chapters=1) == []
    deep = b""
    for _ in range(3000):
        deep = element("b6", deep)
    segment = data[: data.index(b"\x18\x53\x80\x67")]
    segment += element("18538067", element(CHAPTERS.hex(), edition(deep)))
    here.write_bytes(segment)
    assert unread(here, chapters=1) == []
