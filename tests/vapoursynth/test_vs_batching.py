"""Blocks, streams and engines: the work done, and that the result does not depend on them."""

import gc
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from vs_clips import all_frames, equal, noise, planes

from lkdn_core import Upscaler
from lkdn_vapoursynth import engines
from lkdn_vapoursynth.abi import Clip
from lkdn_vapoursynth.session import Options, Session

LENGTH = 13


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all batches the engine is given."""
    sizes: list[int] = []
    run = Upscaler.up_planes

    def counted(self, planes, format, **options):  # type: ignore[no-untyped-def]
        sizes.append(len(planes[0]))
        return run(self, planes, format, **options)

    monkeypatch.setattr(Upscaler, "up_planes", counted)
    return sizes


@pytest.fixture
def like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of up to 16 frames, as on a GPU."""
    monkeypatch.setattr(
        Upscaler, "frames_per_run", lambda self, height, width, *, limit=16: min(16, limit)
    )


@pytest.fixture(scope="module")
def expected(weights: str) -> list[list]:
    return all_frames(noise(vs.YUV420P8, LENGTH).lkdn.Upscale(scale=2, weights=weights))


@pytest.mark.parametrize("batch", [1, 2, 4, LENGTH - 1, LENGTH, LENGTH + 1])
@pytest.mark.parametrize("num_streams", [1, 2, 3])
def test_each_frame_is_worked_on_once_whatever_the_blocks(
    weights: str, expected: list[list], batches: list[int], batch: int, num_streams: int
) -> None:
    """Equal to the bit on a CPU in float32, with one thread of torch's."""
    larger = noise(vs.YUV420P8, LENGTH).lkdn.Upscale(
        scale=2, weights=weights, batch=batch, num_streams=num_streams
    )
    assert all(map(equal, all_frames(larger), expected))
    assert batches == [1] * LENGTH


@pytest.mark.usefixtures("like_a_gpu")
def test_runs_of_several_frames(weights: str, expected: list[list], batches: list[int]) -> None:
    """Torch may sum in another order then: a sample at a rounding boundary may move by one."""
    larger = noise(vs.YUV420P8, LENGTH).lkdn.Upscale(scale=2, weights=weights, batch=5)
    for before, after in zip(expected, all_frames(larger), strict=True):
        for a, b in zip(before, after, strict=True):
            off = np.abs(a.astype(int) - b)
            assert off.max() <= 1
            assert off.mean() < 0.005
    assert sorted(batches) == [3, 5, 5]


@pytest.mark.usefixtures("like_a_gpu")
def test_no_frame_is_worked_on_twice_with_a_tiny_cache(
    weights: str, batches: list[int], core: vs.Core
) -> None:
    usual = core.max_cache_size
    core.max_cache_size = 1
    try:
        clip = noise(vs.RGBS, 40)
        all_frames(clip.lkdn.Upscale(scale=2, weights=weights, batch=16))
    finally:
        core.max_cache_size = usual
    assert sum(batches) == 40
    # 1 MiB holds four blocks of three frames of 68 x 52 x 12 bytes in its half.
    assert max(batches) == 3


def test_random_access_and_reversal(weights: str, expected: list[list]) -> None:
    larger = noise(vs.YUV420P8, LENGTH).lkdn.Upscale(scale=2, weights=weights, batch=4)
    for n in (12, 0, 7, 6, 7, 11, 3):
        assert equal(planes(larger.get_frame(n)), expected[n])
    assert all(map(equal, all_frames(larger.std.Reverse()), expected[::-1]))


def test_siblings_leave_no_trace_in_the_properties(weights: str) -> None:
    clip = noise(vs.RGB24, 5, mark=1)
    larger = clip.lkdn.Upscale(scale=2, weights=weights, batch=4)
    for n in range(5):
        assert set(larger.get_frame(n).props) == {"mark", "_DurationNum", "_DurationDen"}


def described(*, num_frames: int = 100, width: int = 34, cache_bytes: int = 2**30) -> Clip:
    """An RGBS clip, as the plugin tells of it."""
    return Clip(width, 26, 2, 1, 32, 0, 0, num_frames, cache_bytes)


def plan(weights: str, clip: Clip, **options: int) -> tuple[int, int]:
    session = Session(clip, Options(scale=2, weights=weights, **options))
    session.close()
    return session.plan.batch, session.plan.streams


def test_automatic_batches_are_single_frames_on_a_cpu(weights: str) -> None:
    assert plan(weights, described()) == (1, 1)


@pytest.mark.usefixtures("like_a_gpu")
def test_automatic_batches_elsewhere(weights: str) -> None:
    assert plan(weights, described()) == (16, 1)
    assert plan(weights, described(num_frames=5)) == (5, 1)
    assert plan(weights, described(num_frames=20), num_streams=4) == (16, 2)
    # A player's endless clip, whose next frame may not come for a while.
    assert plan(weights, described(num_frames=2**27)) == (1, 1)
    assert plan(weights, described(num_frames=2**27), batch=2) == (2, 1)


@pytest.mark.usefixtures("like_a_gpu")
def test_memory_is_bounded_in_bytes(weights: str) -> None:
    frame = 68 * 52 * 3 * 4
    for streams in (1, 3):
        for frames in (0, 1, 5):
            clip = described(cache_bytes=frames * frame * 8 * streams)
            assert plan(weights, clip, num_streams=streams)[0] == max(1, frames)
            assert plan(weights, clip, num_streams=streams, batch=50)[0] == max(1, frames)


@pytest.mark.parametrize(("batch", "expected"), [(1, 4), (2, 6)])
def test_what_repeats_is_enlarged_once(
    weights: str, batches: list[int], batch: int, expected: int
) -> None:
    """With properties of its own."""
    source = noise(vs.YUV420P8, 3)
    shown = [0, 0, 1, 0, 1, 0, 2, 0, 0, 0]
    copied = source.std.ModifyFrame(source, lambda n, f: f.copy())
    clips = [(copied if i % 2 else source)[n].std.SetFrameProps(at=i) for i, n in enumerate(shown)]
    options = {"scale": 2, "weights": weights}
    each = all_frames(source.lkdn.Upscale(**options))
    batches.clear()
    larger = vs.core.std.Splice(clips).lkdn.Upscale(batch=batch, **options)
    for i, n in enumerate(shown):
        frame = larger.get_frame(i)
        assert frame.props["at"] == i
        assert frame.props["_Matrix"] == vs.MATRIX_ST170_M
        assert set(frame.props) <= {"at", "_Matrix", "_DurationNum", "_DurationDen"}
        assert equal(planes(frame), each[n])
    assert len(batches) == expected


def test_other_tags_are_another_frame(weights: str, batches: list[int]) -> None:
    source = noise(vs.YUV420P8, 1)
    tags = [{"_Range": 0}, {"_Range": 1}, {"_Matrix": 1}, {"_Matrix": 9}, {"_ChromaLocation": 1}]
    parts = [source.std.SetFrameProps(**tag) for tag in tags]
    frames = all_frames(vs.core.std.Splice(parts).lkdn.Upscale(scale=2, weights=weights))
    assert len(batches) == len({b"".join(p.tobytes() for p in frame) for frame in frames}) == 5


def test_an_endless_clip_answers_at_once(weights: str) -> None:
    clip = noise(vs.YUV420P8, 1).std.Loop(2**27)
    larger = clip.lkdn.Upscale(scale=2, weights=weights)
    assert larger.num_frames == 2**27
    larger.get_frame(2**27 - 1).close()


def options(weights: str, **changes: object) -> engines.EngineOptions:
    usual = {"scale": 2, "model": "lkdn-s", "device": "cpu", "precision": "fp32"}
    rest = {"tile": 0, "overlap": None, "tta": 1, "backend": "auto", "denoise": None}
    return engines.EngineOptions(**usual | rest | {"weights": weights} | changes)  # type: ignore[arg-type]


def test_equal_options_share_an_engine(weights: str, tmp_path: Path) -> None:
    engine = engines.borrow(options(weights))
    assert engines.borrow(options(weights)) is engine
    assert engines.borrow(options(weights, tile=16)) is not engine
    assert engines.borrow(options(weights, tta=2)) is not engine
    assert engines.borrow(options(weights, backend="reference")) is not engine
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(weights).read_bytes())
    first = engines.borrow(options(str(copy)))
    os.utime(copy, ns=(1, 1))  # as if it had been written anew
    assert engines.borrow(options(str(copy))) is not first


def test_files_of_one_name_are_told_apart(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time of change may be equal, and the current folder another one."""
    made = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "w.safetensors").write_bytes(Path(weights).read_bytes())
        os.utime(folder / "w.safetensors", ns=(1, 1))
        monkeypatch.chdir(folder)
        made.append(engines.borrow(options("w.safetensors")))
    assert made[0] is not made[1]


def test_an_engine_outlives_its_last_clip_for_a_while(weights: str) -> None:
    alive = weakref.ref(engines.borrow(options(weights, tile=17)))
    gc.collect()
    assert alive() is None
    engine = engines.borrow(options(weights, tile=17))
    alive = weakref.ref(engine)
    engines.give_back(engine)
    del engine
    gc.collect()
    assert alive() is engines.borrow(options(weights, tile=17))


def test_what_nobody_expected_is_one_line_and_a_traceback_in_the_log(
    weights: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Upscaler, *planes: object, **options: object) -> None:
        raise OSError("two\nlines")

    larger = noise(vs.RGB24).lkdn.Upscale(scale=2, weights=weights)
    with monkeypatch.context() as patch:
        patch.setattr(Upscaler, "up_planes", broken)
        with pytest.raises(vs.Error) as error:
            larger.get_frame(1)
    assert str(error.value) == "Upscale: frame 1: OSError: two lines"
    assert "in broken" in caplog.text
    larger.get_frame(1).close()


def test_each_stream_has_a_thread_of_its_own(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch then makes one pool of workers for each stream, not one for each of the core's."""
    names: set[str] = set()
    run = Upscaler.up_planes

    def noted(self, planes, format, **options):  # type: ignore[no-untyped-def]
        names.add(threading.current_thread().name)
        return run(self, planes, format, **options)

    monkeypatch.setattr(Upscaler, "up_planes", noted)
    all_frames(noise(vs.RGB24, 12).lkdn.Upscale(scale=2, weights=weights, num_streams=2))
    assert names == {"lkdn-stream-0_0", "lkdn-stream-1_0"}
