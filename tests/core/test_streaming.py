"""Films frame by frame through the engine: order, memory, repeats, what is refused."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import YUV420P10, frames

from lkdn_core import Upscaler
from lkdn_core.backends import reference
from lkdn_core.color import to_rgb
from lkdn_core.errors import FormatError
from lkdn_core.formats import FrameFormat


@pytest.mark.parametrize(("batch_size", "num_streams"), [(1, 1), (2, 1), (3, 2), (9, 3)])
def test_streams_keep_order_and_values(
    weights_file: Path, batch_size: int, num_streams: int
) -> None:
    source = frames(7)
    plain = Upscaler(scale=2, weights=weights_file)
    upscaler = Upscaler(
        scale=2, weights=weights_file, batch_size=batch_size, num_streams=num_streams
    )
    out = list(upscaler.stream(iter(source), YUV420P10))
    assert len(out) == 7
    for frame, got in zip(source, out, strict=True):
        planes = [torch.from_numpy(p)[None] for p in frame]
        expected = plain.up_planes(planes, YUV420P10)
        for a, b in zip(expected, got, strict=True):
            assert b.dtype == np.uint16
            np.testing.assert_allclose(a[0].numpy().astype(int), b.astype(int), atol=1)


def test_streams_hold_few_frames(weights_file: Path) -> None:
    read = 0

    def source() -> Iterator[list[np.ndarray]]:
        nonlocal read
        for frame in frames(20):
            read += 1
            yield frame

    upscaler = Upscaler(scale=2, weights=weights_file, batch_size=2)
    for done, _ in enumerate(upscaler.stream(source(), YUV420P10), 1):
        assert read <= done + 3 * 2  # this batch, the one at work, the one just read


@pytest.mark.parametrize(("batch_size", "runs"), [(1, 8), (2, 7), (4, 4)])
def test_what_repeats_is_enlarged_once(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, runs: int
) -> None:
    pictures = frames(7)
    pictures[2] = [plane.copy() for plane in pictures[1]]
    pictures[2][2][-1, -1] ^= 1  # another picture by its last sample alone
    source = [pictures[i] for i in (0, 0, 1, 1, 2, 2, 2, 2, 1, 0, 3, 4, 5, 6, 0)]
    upscaler = Upscaler(scale=2, weights=weights_file, backend="reference", batch_size=batch_size)
    done: list[int] = []
    real = reference.run_unshuffled

    def counted(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        done.append(len(x))
        return real(weights, x)

    monkeypatch.setattr(reference, "run_unshuffled", counted)

    def in_one_place() -> Iterator[list[np.ndarray]]:
        place = [np.empty_like(plane) for plane in source[0]]
        for frame in source:
            for plane, values in zip(place, frame, strict=True):
                plane[:] = values
            yield place

    out = list(upscaler.stream(in_one_place(), YUV420P10))
    assert not any(plane.flags.writeable for frame in out for plane in frame)
    assert len(done) == runs
    for frame, got in zip(source, out, strict=True):
        planes = upscaler.up_planes([torch.from_numpy(p)[None] for p in frame], YUV420P10)
        for wanted, plane in zip(planes, got, strict=True):
            # Batches of another size round differently in the last place.
            np.testing.assert_allclose(plane.astype(int), wanted[0].numpy().astype(int), atol=1)


def test_a_stream_given_up_leaves_no_thread(weights_file: Path) -> None:
    stream = Upscaler(scale=2, weights=weights_file).stream(iter(frames(5)), YUV420P10)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("lkdn")]


def test_an_empty_stream_is_empty(weights_file: Path) -> None:
    assert list(Upscaler(scale=2, weights=weights_file).stream(iter([]), YUV420P10)) == []


def test_a_frame_of_another_size_is_an_error(weights_file: Path) -> None:
    mixed = frames(2) + frames(1, height=25)
    kinds = "planes of 29x23 uint16, .*, got 29x25 uint16"
    with pytest.raises(FormatError, match=f"first one's size and type, {kinds}"):
        list(Upscaler(scale=2, weights=weights_file).stream(iter(mixed), YUV420P10))


@pytest.mark.parametrize("frame", [[], [np.zeros((1, 4, 4), np.uint8)], [np.zeros((4, 4), object)]])
def test_what_is_no_frame_is_an_error(weights_file: Path, frame: list[np.ndarray]) -> None:
    with pytest.raises(FormatError, match=r"frames: planes \(h, w\) of numbers are accepted, got"):
        list(Upscaler(scale=2, weights=weights_file).stream([frame], YUV420P10))


@pytest.mark.parametrize("later", [np.zeros((4, 4), np.uint8), None, 5, [[1, 2]]])
def test_what_is_no_frame_later_is_an_error_too(weights_file: Path, later: Any) -> None:
    stream = Upscaler(scale=2, weights=weights_file).stream([*frames(1), later], YUV420P10)
    with pytest.raises(FormatError, match=r"frames: lists of (planes|NumPy arrays).* accepted"):
        list(stream)


def test_tensors_are_no_frames(weights_file: Path) -> None:
    frame = [torch.from_numpy(plane) for plane in frames(1)[0]]
    with pytest.raises(FormatError, match="frames: lists of NumPy arrays are accepted, one holds"):
        list(Upscaler(scale=2, weights=weights_file).stream([frame], YUV420P10))  # type: ignore[list-item]


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: out of memory"), MemoryError()])
def test_a_batch_of_frames_without_room_goes_in_halves(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The frames themselves, not only the network's maps, may be what is too large."""
    upscaler = Upscaler(scale=2, weights=weights_file, backend="reference", batch_size=5)
    expected = list(upscaler.stream(frames(7), YUV420P10))
    sizes: list[int] = []

    def limited(
        planes: list[torch.Tensor], format: FrameFormat, *, dtype: torch.dtype
    ) -> torch.Tensor:
        sizes.append(len(planes[0]))
        if len(planes[0]) > 2:
            raise error
        return to_rgb(planes, format, dtype=dtype)

    monkeypatch.setattr("lkdn_core.engine.to_rgb", limited)
    for frame, wanted in zip(upscaler.stream(frames(7), YUV420P10), expected, strict=True):
        for plane, whole in zip(frame, wanted, strict=True):
            # Batches of another size round differently in the last place.
            assert np.abs(plane.astype(int) - whole.astype(int)).max() <= 1
    assert sizes == [5, 2, 3, 1, 2, 2]
