"""A film frame by frame: batches worked on ahead and given back in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import batched, chain
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from lkdn_core.errors import FormatError
from lkdn_core.memory import is_out_of_memory, shortage_named

if TYPE_CHECKING:
    from lkdn_core.engine import Upscaler

__all__ = ["RECENT", "FrameStream", "Planes"]

#: Frames remembered with their results. In a still scene codecs alternate between two or three.
RECENT: Final = 4
#: One frame: its planes (h, w).
Planes = Sequence[np.ndarray]
#: Waits for a batch; the frames enlarged.
_Wait = Callable[[], list[list[np.ndarray]]]
#: A batch at work, and which of its frames.
_Result = tuple[Future[_Wait], int]


class FrameStream:
    """Enlarges frames in the threads of ``upscaler``, in order.

    ``start``: planes (N, h, w) of a batch to a function that waits for the enlarged ones.
    """

    def __init__(
        self,
        upscaler: "Upscaler",
        start: Callable[[Sequence[Tensor]], Callable[[], list[Tensor]]],
    ) -> None:
        self._upscaler = upscaler
        self._start = start
        self._error: BaseException | None = None

    def run(self, frames: Iterable[Planes]) -> Iterator[list[np.ndarray]]:
        """Yield ``frames`` enlarged; what repeats a recent frame is not worked on again."""
        upscaler = self._upscaler
        pending: deque[list[_Result]] = deque()
        recent: deque[tuple[Planes, _Result]] = deque(maxlen=RECENT)
        # A GPU's threads only enqueue: while one batch comes back, the next is worked on.
        ahead = upscaler.num_streams + (upscaler.device.type == "cuda")
        with ThreadPoolExecutor(upscaler.num_streams, "lkdn", self._enter_thread) as pool:
            try:
                for batch in self._batches(frames):
                    results = _known(batch, recent)
                    if len(results) < len(batch):
                        # All of it: a GPU likes batches of one size.
                        work = pool.submit(self._unless_failed, batch)
                        results = [(work, i) for i in range(len(batch))]
                        recent.extend(zip(batch, results, strict=True))
                    pending.append(results)
                    if len(pending) > ahead:
                        yield from _enlarged(pending.popleft())
                while pending:
                    yield from _enlarged(pending.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                self._error = None  # whose traceback holds this object, and pictures

    def _batches(self, frames: Iterable[Planes]) -> Iterator[Sequence[Planes]]:
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        kind = _checked_kind(first)

        def copies() -> Iterator[Planes]:
            for frame in chain([first], frames):
                if _checked_kind(frame) != kind:
                    raise FormatError(
                        f"frames: all must have the first one's size and type, planes of {kind}, "
                        f"got {_kind(frame)}"
                    )
                # The next frame may be read into where this one lies.
                yield [plane.copy() for plane in frame]

        # A short last batch is a run like any other.
        yield from batched(copies(), self._upscaler.frames_per_run(*first[0].shape))

    def _enter_thread(self) -> None:
        device = self._upscaler.device
        if device.type == "cuda" and self._upscaler.num_streams > 1:
            torch.cuda.set_stream(torch.cuda.Stream(device))

    def _unless_failed(self, batch: Sequence[Planes]) -> _Wait:
        if self._error is not None:  # a thread is here before the one that gives back can cancel
            raise self._error
        try:
            return self._work(batch)
        except BaseException as error:
            self._error = error
            raise

    def _work(self, batch: Sequence[Planes]) -> _Wait:
        limits = self._upscaler.limits
        if len(batch) == 1:
            with shortage_named(self._upscaler.device):
                return self._run(batch)
        try:
            return self._run(batch)
        except (MemoryError, RuntimeError) as error:
            # The network itself takes fewer by then; there was no room around it.
            if not is_out_of_memory(error):
                raise
            height, width = batch[0][0].shape
            self._upscaler.shrink(len(batch), height, width, limits)
        half = len(batch) // 2
        first, second = self._work(batch[:half]), self._work(batch[half:])
        return lambda: first() + second()

    def _run(self, batch: Sequence[Planes]) -> _Wait:
        wait = self._start([torch.from_numpy(np.stack(p)) for p in zip(*batch, strict=True)])
        return lambda: [list(frame) for frame in zip(*map(_read_only, wait()), strict=True)]


def _read_only(plane: Tensor) -> np.ndarray:
    array = plane.numpy()
    array.flags.writeable = False  # it may be given again
    return array


def _checked_kind(frame: Planes) -> str:
    """Size and type of each plane. Raises ``FormatError`` for what is no frame."""
    if not isinstance(frame, list | tuple):  # a gray frame, maybe, and no list around its plane
        got = type(frame).__name__
        raise FormatError(f"frames: lists of planes (h, w) are accepted, got {got}")
    if wrong := [type(plane).__name__ for plane in frame if not isinstance(plane, np.ndarray)]:
        raise FormatError(f"frames: lists of NumPy arrays are accepted, one holds {wrong[0]}")
    kind = _kind(frame)
    if not frame or any(p.ndim != 2 or not p.size or p.dtype.kind not in "uif" for p in frame):
        raise FormatError(f"frames: planes (h, w) of numbers are accepted, got {kind or 'none'}")
    return kind


def _kind(frame: Planes) -> str:
    return ", ".join(f"{'x'.join(map(str, plane.shape[::-1]))} {plane.dtype}" for plane in frame)


def _known(batch: Sequence[Planes], recent: Iterable[tuple[Planes, _Result]]) -> list[_Result]:
    """The results of ``batch`` among the ``recent`` ones, up to the first frame that has none."""
    results = []
    for frame in batch:
        for planes, result in recent:
            if all(map(np.array_equal, planes, frame)):
                results.append(result)
                break
        else:
            break
    return results


def _enlarged(results: Iterable[_Result]) -> list[list[np.ndarray]]:
    return [work.result()()[i] for work, i in results]
