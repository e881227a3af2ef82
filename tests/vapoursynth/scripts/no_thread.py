"""A thread that can't be made: its frames fail, and no job for them is left behind."""

import threading

import vapoursynth as vs

from lkdn_vapoursynth.session import Session

blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=34, height=26, length=1)
clip = vs.core.std.Splice([blank.std.BlankClip(color=[n, 99, 99]) for n in range(3)])
larger = clip.lkdn.Upscale(scale=2, batch=1)

start, refused = threading.Thread.start, [True]
run, jobs = Session._run, []


def refuse_once(thread: threading.Thread) -> None:
    if thread.name.startswith("lkdn-stream") and refused:
        refused.clear()
        raise RuntimeError("can't start new thread")
    start(thread)


def count(session: Session, *frames: object) -> None:
    jobs.append(frames)
    run(session, *frames)  # type: ignore[arg-type]


threading.Thread.start = refuse_once  # type: ignore[method-assign]
Session._run = count  # type: ignore[method-assign]
try:
    larger.get_frame(0)
except vs.Error as error:
    assert "no thread to work in: can't start new thread" in str(error), error
else:
    raise AssertionError("a frame came without a thread")
assert not jobs
larger.get_frame(1)
assert len(jobs) == 1, jobs
