"""Ctrl-C as each callback starts, before the line where it would be caught."""

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import vapoursynth as vs

from lkdn_vapoursynth.bridge import _sessions

blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=34, height=26, length=1)


def interrupted(name: str, call: Callable[[], Any]) -> str:
    """What the script is told when Ctrl-C comes at the start of the bridge's ``name``."""

    def interrupt(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if frame.f_code.co_name == name and file.endswith(("bridge.py", "session.py")):
            sys.settrace(None)
            raise KeyboardInterrupt

    sys.settrace(interrupt)
    try:
        call()
    except vs.Error as error:
        return str(error)
    finally:
        sys.settrace(None)
    return "nothing"


for name, call, error in [
    ("attach", vs.core.lkdn.Models, "Models: interrupted"),
    ("_describe", vs.core.lkdn.Models, "Models: interrupted"),
    ("_create", lambda: blank.lkdn.Upscale(scale=2), "Upscale: interrupted"),
]:
    # More than once: what a callback leaves behind there is different each time.
    for _ in range(8):
        assert interrupted(name, call) == error, name
assert vs.core.lkdn.Models()["model"]
blank.lkdn.Upscale(scale=2).get_frame(0)

# Where a clip is freed, Ctrl-C is for the script, and the clip goes all the same.
for name in ("_destroy", "close", "_put"):
    for _ in range(8):
        clips = [blank.lkdn.Upscale(scale=2)]
        try:
            interrupted(name, clips.clear)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                pass
        except KeyboardInterrupt:
            continue
        finally:
            assert not clips and not _sessions, name
        raise AssertionError(f"nothing came of Ctrl-C in {name}")
# A clip that is being made when it comes leaves nothing.
for name in ("_plan", "_put"):
    assert interrupted(name, lambda: blank.lkdn.Upscale(scale=2)) == "Upscale: interrupted"
    assert not _sessions, name
