"""Trained weights to the tensors that run: fused, folded for half precision, on the device."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from lkdn_core.calibrate import attention_amplitudes, calibration_pictures
from lkdn_core.fuse import Weights, fold_range, fuse

__all__ = ["DTYPES", "fold", "layout", "prepare"]

#: What ``precision`` may name.
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def fold(weights: Mapping[str, Tensor], *, precision: str) -> Weights:
    """Weights of ``load_model`` fused, and folded where ``precision`` needs it; in float64."""
    fused = fuse(weights)
    if precision != "fp16":
        return fused
    single = {k: v.float() for k, v in fused.items()}
    return fold_range(fused, attention_amplitudes(single, calibration_pictures()))


def layout(device: torch.device) -> torch.memory_format:
    """What torch's convolutions are fastest in: on CUDA its depth-wise ones want it contiguous."""
    return torch.contiguous_format if device.type == "cuda" else torch.channels_last


def prepare(weights: Mapping[str, Tensor], *, device: torch.device, precision: str) -> Weights:
    """Weights of ``load_model`` made ready for ``run_network`` in ``precision`` on ``device``."""
    ready = {}
    for key, value in fold(weights, precision=precision).items():
        if key.endswith(".eps"):
            ready[key] = value  # a number for the host: on the device each use would wait for it
        elif value.ndim == 4:
            moved = value.to(device, DTYPES[precision])
            ready[key] = moved.contiguous(memory_format=layout(device))
        else:
            ready[key] = value.to(device, DTYPES[precision])
    return ready
