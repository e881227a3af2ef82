"""Planes to the device and back in one copy each way, through pinned memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["download", "upload"]


def upload(planes: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """``planes`` (N, h, w) on ``device``. To a GPU they travel side by side in one copy."""
    if planes[0].device == device or device.type == "cpu":
        return [p.to(device) for p in planes]
    staging = torch.empty(sum(p.nbytes for p in planes), dtype=torch.uint8, pin_memory=True)
    for view, plane in zip(_views(staging, planes), planes, strict=True):
        view.copy_(plane)
    return _views(staging.to(device, non_blocking=True), planes)


def download(planes: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """``planes`` on ``device``, finished when this returns. From a GPU: one copy."""
    if planes[0].device == device or planes[0].device.type == "cpu":
        return [p.to(device) for p in planes]
    flat = torch.cat([p.contiguous().view(torch.uint8).flatten() for p in planes])
    staging = torch.empty(flat.shape, dtype=torch.uint8, pin_memory=True)
    staging.copy_(flat, non_blocking=True)
    torch.cuda.current_stream(flat.device).synchronize()
    return _views(staging, planes)


def _views(flat: Tensor, planes: Sequence[Tensor]) -> list[Tensor]:
    """``flat`` bytes seen as tensors of the shapes and dtypes of ``planes``, one after another."""
    views, start = [], 0
    # A view of wider elements must start at a multiple of their size; all planes share a dtype.
    for plane in planes:
        part = flat[start : start + plane.nbytes]
        views.append(part.view(plane.dtype).view(plane.shape))
        start += plane.nbytes
    return views
