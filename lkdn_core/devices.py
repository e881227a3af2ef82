"""Which device a name means, and what it calls itself."""

import platform
from pathlib import Path

import torch

from lkdn_core.errors import ArgumentError

__all__ = ["device_name", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device ``name`` means: auto, cpu, cuda or cuda:N. Raises ``ArgumentError``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name) if isinstance(name, str | torch.device) else None
    except (RuntimeError, TypeError):
        device = None
    count = torch.cuda.device_count()
    cpu_number = device is not None and device.type == "cpu" and device.index
    if device is None or device.type not in ("cpu", "cuda") or cpu_number:
        raise ArgumentError(f"device: auto, cpu, cuda or cuda:N is accepted, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ArgumentError(f"device: {name} is not here, torch sees {count} CUDA devices")
    return device


def device_name(device: torch.device) -> str:
    """The make of the GPU, or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
