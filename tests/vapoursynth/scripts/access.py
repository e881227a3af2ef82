"""Every way to ask for frames; each must be what a linear pass gives. Argument: how many rounds."""

import random
import sys
import threading
from itertools import product
from os import environ

import vapoursynth as vs
from vs_clips import all_frames, assert_nothing_is_left, equal, noise, planes

LENGTH = 30
OPTIONS = {"scale": 2, "weights": environ["LKDN_TEST_WEIGHTS"]}

core = vs.core
core.num_threads = 4
source = noise(vs.YUV420P8, LENGTH)
expected = all_frames(source.lkdn.Upscale(**OPTIONS))


def check(frame: vs.VideoFrame, n: int) -> None:
    assert equal(planes(frame), expected[n]), n


def out_of_order(clip: vs.VideoNode) -> None:
    order = [random.randrange(LENGTH) for _ in range(3 * LENGTH)]
    for n, future in [(n, clip.get_frame_async(n)) for n in order]:
        check(future.result(), n)


def from_threads(clip: vs.VideoNode) -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        numbers = random.Random(seed)
        try:
            for _ in range(LENGTH):
                n = numbers.randrange(LENGTH)
                check(clip.get_frame(n), n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def through_filters(clip: vs.VideoNode) -> None:
    for n, frame in enumerate(clip.std.Reverse().frames()):
        check(frame, LENGTH - 1 - n)
    for n, frame in enumerate(clip.std.SelectEvery(3, [2, 0]).frames()):
        check(frame, n // 2 * 3 + (0 if n % 2 else 2))
    chosen = clip.std.FrameEval(
        lambda n: clip if n % 2 else clip.std.FlipVertical().std.FlipVertical()
    )
    copied = chosen.std.ModifyFrame(chosen, lambda n, f: f.copy())
    for n, frame in enumerate(copied.frames()):
        check(frame, n)


def chained(clip: vs.VideoNode, **options: int) -> None:
    python_between = clip.std.ModifyFrame(clip, lambda n, f: f.copy())
    once_more = all_frames(python_between[:7].lkdn.Upscale(**OPTIONS, **options))
    alone = all_frames(clip[:7].lkdn.Upscale(**OPTIONS))
    assert all(map(equal, once_more, alone))


def short(**options: int) -> None:
    for length in {1, options["batch"], options["batch"] + 1}:
        clip = source[:length].lkdn.Upscale(**OPTIONS, **options)
        frames = all_frames(clip)
        assert len(frames) == length
        assert all(map(equal, frames, expected))


for round in range(int(sys.argv[1])):
    random.seed(round)
    for batch, num_streams in product((1, 4, 8), (1, 3)):
        clip = source.lkdn.Upscale(**OPTIONS, batch=batch, num_streams=num_streams)
        out_of_order(clip)
        from_threads(clip)
        through_filters(clip)
        chained(clip, batch=batch, num_streams=num_streams)
        short(batch=batch, num_streams=num_streams)
        del clip
    assert_nothing_is_left()
print("ok")
