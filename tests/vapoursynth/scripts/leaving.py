"""Leaves with requests in flight, in the way the argument says."""

import os
import signal
import sys
import threading
import time
from os import environ

import vapoursynth as vs

core = vs.core
core.num_threads = 4
blank = core.std.BlankClip(format=vs.YUV420P8, width=160, height=90, length=1)
# Neighbours differ, or they would not be worked on.
source = core.std.Splice([blank.std.BlankClip(color=[n, 99, 99]) for n in range(150)]).std.Loop(2)
# Real inference in two streams, and one that is done before it is looked at.
slow = source.lkdn.Upscale(scale=2, num_streams=2, batch=2)
fast = source[:40].lkdn.Upscale(scale=2, weights=environ["LKDN_TEST_WEIGHTS"])
slow.get_frame(0).close()
futures = [slow.get_frame_async(n) for n in range(16)] + [
    fast.get_frame_async(n) for n in range(40)
]

match sys.argv[1]:
    case "exit":
        sys.exit(3)
    case "raise":
        raise SystemError("boom")
    case "os._exit":
        os._exit(4)
    case "end":
        pass
    case "Ctrl-C":
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        for frame in slow.frames():
            frame.close()
    case "Ctrl-C in create":
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            source.lkdn.Upscale(scale=2, tile=1 + int(time.monotonic() * 1e6) % 10**6)
