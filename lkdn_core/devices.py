"""Which device a name means."""

import torch

from lkdn_core.errors import ArgumentError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device ``name`` means: auto, cpu, cuda or cuda:N. Raises ``ArgumentError``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    count = torch.cuda.device_count()
    if device is None or device.type not in ("cpu", "cuda"):
        raise ArgumentError(f"device: auto, cpu, cuda or cuda:N is accepted, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ArgumentError(f"device: {name} is not here, torch sees {count} CUDA devices")
    return device
