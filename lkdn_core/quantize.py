"""The place that rounds and clips to integers.

``rounded`` of native/cpu/color.cpp and ``put`` of kernels/color.py do the same in their languages.
"""

import torch
from torch import Tensor

from lkdn_core.errors import FormatError

__all__ = ["quantize"]


def quantize(x: Tensor, *, bits: int) -> Tensor:
    """Round float code values ``x`` (any shape) to integers and clip them to [0, 2^bits - 1].

    Halves round to the even code, without dithering (as zimg does). Returns uint8 for 8 bits and
    uint16 for 9 to 16; ``x`` is left alone. Raises `FormatError` for other depths.
    """
    if not 8 <= bits <= 16:
        raise FormatError(f"bits: 8 to 16 is accepted, got {bits}")
    # Half precision does not hold the codes of deep formats.
    codes = x.float().round().clamp_(0, 2**bits - 1)
    return codes.to(torch.uint8 if bits == 8 else torch.uint16)
