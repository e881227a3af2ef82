"""Runs recorded as CUDA graphs, one for each shape of the input: one launch instead of many."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

import torch
from torch import Tensor

__all__ = ["MAX_GRAPHS", "Graphs"]

#: Shapes kept at once; the least recently used goes. Tiles of one picture have up to nine.
MAX_GRAPHS: Final = 12
#: Recording waits for the whole device, which no other recording would survive.
_recording: Final = Lock()


@dataclass(frozen=True, slots=True)
class _Recorded[T]:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    result: T


class Graphs[T]:
    """Runs ``body(x, memory)`` on a CUDA device, from the second run of a shape on as a graph.

    ``memory`` is ``bytes_for(n, height, width)`` bytes of scratch (uint8), shared by all shapes.
    Recording synchronises the device once; nothing else here waits. Runs of several threads and
    streams follow one another on the device. What the body allocates comes from one pool, where
    graphs reuse each other's memory: nothing of a result outlives the ``finish`` it is given to.
    """

    def __init__(
        self,
        body: Callable[[Tensor, Tensor], T],
        *,
        device: torch.device,
        bytes_for: Callable[[int, int, int], int],
    ) -> None:
        self._body, self._device, self._bytes_for = body, device, bytes_for
        self._lock = Lock()
        self._recorded: OrderedDict[tuple[int, ...], _Recorded[T] | None] = OrderedDict()
        self._memory = torch.empty(0, dtype=torch.uint8, device=device)
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream()
            self._done = torch.cuda.Event()

    def run(self, x: Tensor, finish: Callable[[T], object]) -> None:
        """``finish(result)`` enqueues all that reads the result, on the current stream."""
        with self._lock, torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            current.wait_event(self._done)
            try:
                finish(self._result(x))
            except torch.cuda.OutOfMemoryError:
                self._drop_everything()
                raise
            self._done.record(current)

    def release(self) -> None:
        """Forget all graphs and free their memory; waits for the device."""
        with self._lock, torch.cuda.device(self._device):
            self._drop_everything()

    def _result(self, x: Tensor) -> T:
        shape = tuple(x.shape)
        self._reserve(self._bytes_for(shape[0], shape[2], shape[3]))
        if shape not in self._recorded:  # one that is never seen again is not worth a recording
            while len(self._recorded) >= MAX_GRAPHS:
                self._done.synchronize()
                self._recorded.popitem(last=False)
            self._recorded[shape] = None
            # A copy, as aligned as what is recorded: Triton compiles for an address's alignment.
            return self._body(x.clone(), self._memory)
        recorded = self._recorded[shape] or self._record(x)
        self._recorded[shape] = recorded
        self._recorded.move_to_end(shape)
        recorded.x.copy_(x)
        recorded.graph.replay()
        return recorded.result

    def _record(self, x: Tensor) -> _Recorded[T]:
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(False):  # runs outside of that mode write to it too
            static = torch.empty_like(x)
        # Libraries have a handle for each thread, and this may be another than warmed up.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._body(static.copy_(x), self._memory)
        # Other threads may go on allocating meanwhile.
        record = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        with _recording, record:
            result = self._body(static, self._memory)
        return _Recorded(graph, static, result)

    def _reserve(self, size: int) -> None:
        """Larger scratch lies elsewhere, and a graph holds addresses."""
        if size > len(self._memory):
            self._drop_everything()
            self._memory = torch.empty(size, dtype=torch.uint8, device=self._device)

    def _drop_everything(self) -> None:
        torch.cuda.synchronize()
        self._recorded.clear()
        self._memory = self._memory.new_empty(0)
        torch.cuda.empty_cache()
