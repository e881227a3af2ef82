"""Subtitles of text for containers that show one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["OneAtATime", "Text"]

#: In ASS: a new line, and an end to the styles of the one before.
_NEXT_LINE = rb"\N{\r}"
#: Fields of a dialogue before its text.
_FIELDS = 8


@dataclass(frozen=True, slots=True)
class Text:
    """A dialogue of ASS, without its times, shown from ``start`` to before ``end``."""

    start: int
    end: int
    dialogue: bytes


class OneAtATime:
    """Texts cut where others begin and end; those of one moment become one, line under line."""

    def __init__(self) -> None:
        self._shown: list[Text] = []
        self._from = 0

    def add(self, text: Text) -> Iterator[Text]:
        """The texts that are whole now; those that are added come in the order of ``start``."""
        start = max(text.start, self._from)
        yield from self._until(start)
        if text.end > start:
            self._shown.append(text)

    def rest(self) -> Iterator[Text]:
        """All that is left."""
        while self._shown:
            yield from self._until(max(text.end for text in self._shown))

    def _until(self, time: int) -> Iterator[Text]:
        while self._shown and self._from < time:
            stop = min(time, *(text.end for text in self._shown))
            yield Text(self._from, stop, _joined([text.dialogue for text in self._shown]))
            self._shown = [text for text in self._shown if text.end > stop]
            self._from = stop
        self._from = time


def _joined(dialogues: list[bytes]) -> bytes:
    first, *others = dialogues
    lines = [dialogue.split(b",", _FIELDS)[-1] for dialogue in others]
    return _NEXT_LINE.join([first, *lines])
