"""Clips dropped with requests in flight, failing frames among them. Argument: how many clips."""

import random
import sys
from os import environ

import vapoursynth as vs
from vs_clips import all_frames, assert_nothing_is_left, assert_soon_gone, equal, noise, planes

LENGTH = 40
core = vs.core
source = noise(vs.YUV420P8, LENGTH)
mixed = source[:20] + source[20].std.SetFrameProps(_Matrix=14) + source[21:]
options = {"scale": 2, "weights": environ["LKDN_TEST_WEIGHTS"], "batch": 8, "num_streams": 2}
reference = all_frames(source.lkdn.Upscale(**options))

futures = []
for i in range(int(sys.argv[1])):
    clip = mixed.lkdn.Upscale(**options)
    futures = [(n, clip.get_frame_async(n)) for n in random.choices(range(LENGTH), k=20)]
    if i % 4 == 0:  # for the garbage collector, which comes when it likes
        cycle: list[object] = [clip]
        cycle.append(cycle)
        del cycle
    del clip
    if i % 2:
        n, future = futures[0]
        try:
            assert equal(planes(future.result()), reference[n])
            assert not 16 <= n < 24, n
        except vs.Error as error:
            assert 16 <= n < 24, (n, error)
            assert str(error).startswith("Upscale: frames 16 to 23: _Matrix"), error

for _, future in futures:
    future.exception()
del futures, future, source, mixed
assert_nothing_is_left()
# Bytes of all frames. Without this filter too, a thread of the core that has answered a request may
# hold the frame some milliseconds longer.
assert_soon_gone(lambda: core.used_cache_size)
print("ok")
