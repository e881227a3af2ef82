"""Clips to enlarge and ways to look at frames; also imported by the scripts that tests run."""

import gc
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import vapoursynth as vs

from lkdn_vapoursynth import bridge

WIDTH, HEIGHT = 34, 26


def noise(format: int, length: int = 3, *, seed: int = 1, **properties: Any) -> vs.VideoNode:
    """A clip whose frames all differ: smooth noise within the legal range of 8-bit video."""
    blank = vs.core.std.BlankClip(format=format, width=WIDTH, height=HEIGHT, length=length)

    @lru_cache(4096)
    def samples(n: int, plane: int, height: int, width: int) -> np.ndarray:
        coarse = np.random.default_rng([seed, n, plane]).random((height // 3 + 2, width // 3 + 2))
        fine = np.kron(coarse, np.ones((3, 3)))[:height, :width]
        return (fine + np.roll(fine, 1, 0) + np.roll(fine, 1, 1)) / 3

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(frame.format.num_planes):
            target = np.asarray(frame[plane])
            values = samples(n, plane, *target.shape)
            if frame.format.sample_type == vs.INTEGER:
                values = (32 + 180 * values) * 2 ** (frame.format.bits_per_sample - 8)
            elif plane and frame.format.color_family == vs.YUV:
                values = (values - 0.5) / 2
            target[:] = values.astype(target.dtype)
        return frame

    clip = blank.std.ModifyFrame(blank, fill)
    return clip.std.SetFrameProps(**properties) if properties else clip


def planes(frame: vs.VideoFrame) -> list[np.ndarray]:
    """Copies of the planes; ``frame`` is closed."""
    with frame:
        return [np.array(frame[i]) for i in range(frame.format.num_planes)]


def all_frames(clip: vs.VideoNode) -> list[list[np.ndarray]]:
    """Copies of all planes. (``clip.frames()`` takes a quarter of a second to start and stop.)"""
    futures = [clip.get_frame_async(n) for n in range(clip.num_frames)]
    return [planes(future.result()) for future in futures]


def equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def assert_nothing_is_left() -> None:
    """All clips and their threads are gone, after a moment for requests in flight."""

    def left() -> list[Any]:
        gc.collect()
        threads = [t.name for t in threading.enumerate() if t.name.startswith("lkdn-stream")]
        return [*bridge._sessions, *threads]

    assert_soon_gone(left)


def assert_soon_gone(left: Callable[[], Any]) -> None:
    """``left()`` becomes empty or 0 within 20 seconds."""
    deadline = time.monotonic() + 20
    while still := left():
        assert time.monotonic() < deadline, still
        time.sleep(0.02)
