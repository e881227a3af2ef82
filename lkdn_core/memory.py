"""How much memory a network takes and a device has."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from lkdn_core.arch import LKDNConfig
from lkdn_core.errors import OutOfMemoryError

__all__ = ["bytes_per_pixel", "free_bytes", "is_out_of_memory", "shortage_named", "working_budget"]

#: More than this on a CPU buys no speed: tiles of that size already drown their overlap.
CPU_BUDGET: Final = 2 * 2**30


def bytes_per_pixel(config: LKDNConfig, dtype: torch.dtype) -> int:
    """Bytes of maps per input pixel, from the plan of ``run_network``: an upper bound.

    The peak is at ``c1``: every block's output, and the same again side by side. Measured peaks in
    float32 are three quarters of it.
    """
    features = (2 * config.blocks + 8) * config.channels
    picture = 3 * config.scale**2
    return (features + 2 * picture) * dtype.itemsize


def free_bytes(device: torch.device) -> int:
    """Bytes a new allocation on ``device`` can count on."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"MemAvailable: *(\d+)", meminfo.read_text())):
        return int(found[1]) * 1024
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    return CPU_BUDGET


def working_budget(device: torch.device) -> int:
    """Bytes the network's maps may take: half of what is free, on a CPU at most 2 GiB."""
    half = free_bytes(device) // 2
    return half if device.type == "cuda" else min(half, CPU_BUDGET)


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` says that an allocation failed, on a GPU or on the CPU.

    Not so our own ``OutOfMemoryError``, which says that trying with less is of no use.
    """
    if isinstance(error, OutOfMemoryError):
        return False
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # CUDA's own allocator, which ComfyUI uses, says "CUDA error: out of memory".
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return any(w in str(error) for w in words)


@contextmanager
def shortage_named(device: torch.device) -> Iterator[None]:
    """Raise ``OutOfMemoryError`` for a failed allocation on ``device``: nothing can be halved."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"{device} has no room for the enlarged picture") from error
