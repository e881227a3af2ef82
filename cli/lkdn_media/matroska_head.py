"""What a Matroska file says that FFmpeg's reader does not hand on: chapters, tags and tracks.

Names of elements are those of RFC 9559.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lkdn_core.errors import LKDNError
from lkdn_media.ebml import children, element, top_level
from lkdn_media.matroska_chapters import CHAPTERS
from lkdn_media.matroska_tracks import TRACK_ENTRY, TRACKS
from lkdn_media.tags import copied_tags

__all__ = ["MatroskaHead", "read_head"]

log = logging.getLogger(__name__)
_FLAG_ENABLED: Final = b"\xb9"
_LANGUAGE_BCP47: Final = b"\x22\xb5\x9d"
_EDITION_ENTRY: Final = b"\x45\xb9"
_EDITION_FLAG_ORDERED: Final = b"\x45\xdd"
_CHAPTER_ATOM: Final = b"\xb6"
#: Chapters within chapters: real ones are two or three, and each level is held in memory.
_DEEPEST: Final = 16
_CHAPTER_DISPLAY: Final = b"\x80"
_CHAPTER_TRACK: Final = b"\x8f"
_INFO: Final = b"\x15\x49\xa9\x66"
_TITLE: Final = b"\x7b\xa9"
_TAGS: Final = b"\x12\x54\xc3\x67"
_TAG: Final = b"\x73\x73"
_TARGETS: Final = b"\x63\xc0"
_TARGET_TYPE_VALUE: Final = b"\x68\xca"
#: All that targets of the whole file may have: the level's number, and its name.
_OF_ALL: Final = frozenset((_TARGET_TYPE_VALUE, b"\x63\xca"))
#: Of tags of the whole file, a film or an episode; also without a level.
_ORDINARY_LEVEL: Final = 50
_TAG_EDITION_UID: Final = b"\x63\xc9"
_TAG_CHAPTER_UID: Final = b"\x63\xc4"
_SIMPLE_TAG: Final = b"\x67\xc8"
_TAG_NAME: Final = b"\x45\xa3"
_TAG_LANGUAGE: Final = b"\x44\x7a"
_TAG_STRING: Final = b"\x44\x87"


@dataclass(frozen=True, slots=True)
class MatroskaHead:
    """``unkept``: what tags say and can't be kept, in words.

    ``title``: the file's own, in whose place FFmpeg shows a tag's. ``tracks``: elements that
    another such file can have as they are, by index of the stream; ``unread_tracks``: what they
    say, in words. ``chapters``: contents of their element, of the same kind; ``b""`` where
    something else in the file is bound to them by numbers, which change. ``unread_chapters``: what
    of them FFmpeg does not show, in words.
    """

    unkept: tuple[str, ...] = ()
    title: str = ""
    tracks: tuple[bytes, ...] = ()
    unread_tracks: tuple[str, ...] = ()
    chapters: bytes = b""
    unread_chapters: tuple[str, ...] = ()


def read_head(path: Path, *, streams: int, chapters: int) -> MatroskaHead:
    """What FFmpeg, which sees so many ``streams`` and ``chapters``, does not show of ``path``.

    Streams don't count attachments. Of a damaged head nothing is said.
    """
    try:
        with path.open("rb") as file:
            found = top_level(file, frozenset({TRACKS, CHAPTERS, _TAGS, _INFO}))
        whole, tags = found.get(CHAPTERS, b""), found.get(_TAGS, b"")
        entries = [dict(children(entry)) for entry in _all(found.get(TRACKS, b""), TRACK_ENTRY)]
        title = dict(children(found.get(_INFO, b""))).get(_TITLE, b"").rstrip(b"\0")
        return MatroskaHead(
            unkept=(*_of_tags(tags), *_of_titles(tags, title)),
            title=title.decode(errors="replace"),
            tracks=tuple(map(_fields, entries)) if len(entries) == streams else (),
            unread_tracks=tuple(_of_tracks(entries)),
            chapters=whole if _stands_alone(whole, tags) else b"",
            unread_chapters=tuple(_of_chapters(whole, chapters)),
        )
    except (LKDNError, OSError, ValueError, RecursionError) as error:
        log.info("%s: %s", path, error)
        return MatroskaHead()


def _stands_alone(chapters: bytes, tags: bytes) -> bool:
    """Whether there are ``chapters``, none for some tracks only, and no tags of single ones."""
    targets = [target for tag in _all(tags, _TAG) for target in _all(tag, _TARGETS)]
    named = {name for target in targets for name, _ in children(target)}
    atoms = [atom for edition in _all(chapters, _EDITION_ENTRY) for atom in _atoms(edition)]
    tracks = any(_all(atom, _CHAPTER_TRACK) for atom in atoms)
    return bool(atoms) and not tracks and not named & {_TAG_EDITION_UID, _TAG_CHAPTER_UID}


def _of_chapters(data: bytes, shown: int) -> Iterator[str]:
    editions = _all(data, _EDITION_ENTRY)
    atoms = [atom for edition in editions for atom in _atoms(edition)]
    if len(atoms) > shown:
        yield f"{len(atoms) - shown} of {len(atoms)} chapters (nested, hidden or out of order)"
    if len(editions) > 1:
        yield f"that the chapters are of {len(editions)} editions"
    if any(int.from_bytes(flag) for e in editions for flag in _all(e, _EDITION_FLAG_ORDERED)):
        yield "the order that the chapters are to be played in"
    if any(len(_all(atom, _CHAPTER_DISPLAY)) > 1 for atom in atoms):
        yield "second names of chapters"


def _atoms(data: bytes, depth: int = 0) -> Iterator[bytes]:
    if depth > _DEEPEST:
        raise LKDNError("its chapters lie too deep within each other")
    for atom in _all(data, _CHAPTER_ATOM):
        yield atom
        yield from _atoms(atom, depth + 1)


def _of_tags(data: bytes) -> Iterator[str]:
    seen = Counter[tuple[bytes, bytes, bytes]]()
    for tag in _all(data, _TAG):
        target = b"".join(_all(tag, _TARGETS))
        for simple in _all(tag, _SIMPLE_TAG):
            fields = dict(children(simple))
            seen[target, fields.get(_TAG_NAME, b""), fields.get(_TAG_LANGUAGE, b"")] += 1
    repeated = {name.decode(errors="replace"): "" for (_, name, _), n in seen.items() if n > 1}
    names = sorted(copied_tags(repeated))
    if names:
        yield f"all values but one of the tags {', '.join(names)}"
    if any(levels - {_ORDINARY_LEVEL} for levels in map(_levels, _all(data, _TAG))):
        yield "which tags are of a series, a chapter or a scene"
    if any(_all(one, _SIMPLE_TAG) for tag in _all(data, _TAG) for one in _all(tag, _SIMPLE_TAG)):
        yield "which tags belong to others"


def _of_titles(tags: bytes, title: bytes) -> Iterator[str]:
    """Those of the whole file in ``tags``, where it has another ``title``."""
    for tag in _all(tags, _TAG) if title else ():
        targets = {name for target in _all(tag, _TARGETS) for name, _ in children(target)}
        for simple in map(dict, map(children, _all(tag, _SIMPLE_TAG))):
            other = simple.get(_TAG_STRING, title)
            if simple.get(_TAG_NAME) == b"TITLE" and targets <= _OF_ALL and other != title:
                yield f"the tag TITLE, {other.decode(errors='replace')}, beside the file's title,"


def _levels(tag: bytes) -> set[int]:
    targets = _all(tag, _TARGETS)
    return {int.from_bytes(level) for t in targets for level in _all(t, _TARGET_TYPE_VALUE)}


def _fields(entry: dict[bytes, bytes]) -> bytes:
    """The elements of a track's ``entry`` that FFmpeg neither shows nor writes."""
    language = entry.get(_LANGUAGE_BCP47, b"")
    finer = element(_LANGUAGE_BCP47, language) * (b"-" in language)
    return finer + element(_FLAG_ENABLED, b"\0") * _is_off(entry)


def _of_tracks(entries: list[dict[bytes, bytes]]) -> Iterator[str]:
    languages = [e.get(_LANGUAGE_BCP47, b"").decode("ascii", "replace") for e in entries]
    longer = [f"{language} of #{i}" for i, language in enumerate(languages) if "-" in language]
    if longer:
        yield f"what follows the first part of the languages {', '.join(longer)}"
    off = [f"#{i}" for i, entry in enumerate(entries) if _is_off(entry)]
    if off:
        yield f"that {', '.join(off)} is switched off"


def _is_off(entry: dict[bytes, bytes]) -> bool:
    return entry.get(_FLAG_ENABLED) in (b"", b"\0")


def _all(data: bytes, wanted: bytes) -> list[bytes]:
    return [contents for name, contents in children(data) if name == wanted]
