"""Planes to the device and back, in one copy each way, beside the work of the device.

Pinned memory is torch's: its allocator hands a block out again once the copies that used it are
done, so a steady flow of frames goes round a few blocks, as in a ring.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Copier"]


class Copier:
    """Copies to and from ``device``, on a GPU on one stream for each way.

    What the current stream does before and after is ordered with the copies; nothing waits on the
    host but the function that ``download`` returns.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            self._up, self._down = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def upload(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """``planes`` (N, h, w) on the device. To a GPU they travel side by side."""
        if planes[0].device.type == self._device.type:
            return [p.to(self._device) for p in planes]
        current = torch.cuda.current_stream(self._device)
        staging = torch.empty(sum(p.nbytes for p in planes), dtype=torch.uint8, pin_memory=True)
        for view, plane in zip(_views(staging, planes), planes, strict=True):
            view.copy_(plane)
        with torch.cuda.stream(self._up):
            moved = staging.to(self._device, non_blocking=True)
        current.wait_stream(self._up)
        moved.record_stream(current)
        return _views(moved, planes)

    def download(self, planes: Sequence[Tensor], home: torch.device) -> Callable[[], list[Tensor]]:
        """Start moving ``planes`` to ``home``; the function returned waits and has them there."""
        if planes[0].device.type == home.type:
            ready = [p.to(home) for p in planes]
            return lambda: ready
        current = torch.cuda.current_stream(self._device)
        flat = torch.cat([p.contiguous().view(torch.uint8).flatten() for p in planes])
        staging = torch.empty(flat.shape, dtype=torch.uint8, pin_memory=True)
        self._down.wait_stream(current)
        with torch.cuda.stream(self._down):
            staging.copy_(flat, non_blocking=True)
            arrived = self._down.record_event()
        flat.record_stream(self._down)
        views = _views(staging, planes)

        def wait() -> list[Tensor]:
            arrived.synchronize()
            return views

        return wait


def _views(flat: Tensor, planes: Sequence[Tensor]) -> list[Tensor]:
    """``flat`` bytes seen as tensors of the shapes and dtypes of ``planes``, one after another."""
    views, start = [], 0
    # A view of wider elements must start at a multiple of their size; all planes share a dtype.
    for plane in planes:
        part = flat[start : start + plane.nbytes]
        views.append(part.view(plane.dtype).view(plane.shape))
        start += plane.nbytes
    return views
