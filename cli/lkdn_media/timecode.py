"""Timecodes of editors (SMPTE ST 12-1): hours, minutes, seconds and frames of a picture."""

import re
from fractions import Fraction
from typing import Final

__all__ = ["later_timecode"]

_TIMECODE: Final = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")


def later_timecode(timecode: str, frames: int, rate: Fraction) -> str | None:
    """``timecode`` of the picture ``frames`` later; ``None`` where it isn't one.

    Nor is there one below a picture a second.

    With ``;`` before the frames, two numbers a minute are left out at 29.97 frames/s, but in
    every tenth, so that it keeps step with the clock; four at 59.94.
    """
    found = _TIMECODE.fullmatch(timecode)
    fps = round(rate)
    if found is None or not fps:
        return None
    hours, minutes, seconds, mark, last = found.groups()
    dropped = fps // 15 if mark != ":" and fps % 30 == 0 else 0
    minute = int(hours) * 60 + int(minutes)
    number = (minute * 60 + int(seconds)) * fps + int(last) - dropped * (minute - minute // 10)
    ten = 600 * fps - 9 * dropped  # frames in ten minutes
    tens, rest = divmod((number + frames) % (144 * ten), ten)
    left_out = 9 * tens + max(0, rest - dropped) // (60 * fps - dropped)
    number = tens * ten + rest + dropped * left_out
    seconds_of_day, frame = divmod(number, fps)
    minute, second = divmod(seconds_of_day, 60)
    return f"{minute // 60:02}:{minute % 60:02}:{second:02}{mark}{frame:0{len(last)}}"
