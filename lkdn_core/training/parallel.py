"""One run on several processes: each takes a share of every batch, gradients are averaged."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor

from lkdn_core.errors import ArgumentError

__all__ = [
    "any_process",
    "average_gradients",
    "main_process",
    "mean_of_all",
    "processes",
    "share",
    "wait_for_all",
]


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, if it did; yields this process's device."""
    if not os.environ.keys() >= {"RANK", "LOCAL_RANK", "WORLD_SIZE"}:  # a cluster sets some
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Optimisers import it too, and what is the group then stays the default of its functions: it
    # would outlive its end, and a thread of it that outlives Python aborts the process.
    import_module("torch.distributed.nn")
    # One may pack pictures, or measure them, while the others wait.
    patience = timedelta(days=1)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def main_process() -> bool:
    """Whether this is the process that writes files and shows progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether ``flag`` is set in one of the processes; the same answer in all."""
    if not dist.is_initialized():
        return flag
    flags = torch.tensor(int(flag), device=device)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def mean_of_all(value: Tensor) -> float:
    """The mean of the processes' values, which has to be asked for in all of them."""
    if not dist.is_initialized():
        return float(value)
    total = value.clone()
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def share(batch_size: int) -> slice:
    """This process's part of a batch. Raises ``ArgumentError`` where the batch doesn't divide."""
    if not dist.is_initialized():
        return slice(None)
    world = dist.get_world_size()
    if batch_size % world:
        raise ArgumentError(
            f"batch_size: a multiple of {world} processes is accepted, got {batch_size}"
        )
    size = batch_size // world
    return slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their mean over all processes; alone, they stay as they are.

    One message carries them all: these networks have half a megabyte of parameters, so there is
    nothing to overlap with the backward pass.
    """
    if not dist.is_initialized():
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(mean.view_as(grad))
