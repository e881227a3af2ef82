"""`lkdn_core.color` in Triton (``kernels/color.py``), for planes that lie in a GPU's memory.

Made of the same tables by the same formulas; sums are in another order, so results differ by
rounding: RGB by 1e-6, an integer sample by one code, and only where it lies between two.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from lkdn_core.chroma import Taps
from lkdn_core.conversion import Conversion

if TYPE_CHECKING:
    from lkdn_core.kernels.launch import Launch

__all__ = ["converts", "decode", "decoding_launch", "encode", "encoding_launch"]

log = logging.getLogger(__name__)
#: Luma columns of a program, and rows of chroma of one that encodes.
_COLUMNS: Final = 256
_ROWS: Final = 16
_WARPS: Final = 4


def converts(*tensors: Tensor) -> bool:
    """Whether these lie on one GPU on which Triton works, which is tried out the first time."""
    device = tensors[0].device
    if device.type != "cuda" or torch.version.hip or any(t.device != device for t in tensors):
        return False
    return _works(device)


def decode(planes: Sequence[Tensor], rgb: Tensor, how: Conversion) -> None:
    """Fill ``rgb`` (N, 3, H, W), of any float dtype, with planes (N, h, w), clipped to [0, 1].

    Strides are free. Runs on the current stream of the planes' device, without waiting for it.
    """
    _run(decoding_launch(planes, rgb, how), rgb)


def encode(rgb: Tensor, planes: Sequence[Tensor], how: Conversion) -> None:
    """Fill ``planes`` with ``rgb``, clipped to [0, 1] first; `decode`'s inverse."""
    _run(encoding_launch(rgb, planes, how), rgb)


def decoding_launch(planes: Sequence[Tensor], rgb: Tensor, how: Conversion) -> "Launch":
    """What `decode` runs."""
    from lkdn_core.kernels import color

    return _launch(color.decode, planes, rgb, how, rows=1)


def encoding_launch(rgb: Tensor, planes: Sequence[Tensor], how: Conversion) -> "Launch":
    """What `encode` runs."""
    from lkdn_core.kernels import color

    return _launch(color.encode, planes, rgb, how, rows=_ROWS, LIMIT=how.limit, TY=_ROWS)


@cache
def _works(device: torch.device) -> bool:
    """Triton may be missing, find no C compiler, or be too new or too old for the GPU."""
    gray = torch.zeros(1, 1, 1, dtype=torch.uint8, device=device)
    rgb = torch.empty(1, 3, 1, 1, device=device)
    try:
        decode([gray], rgb, Conversion(scale=(255.0,), offset=(0.0,)))
    except Exception as error:  # whatever it is, torch needs none of it
        log.info("colours on %s are converted by torch: %s", device, error)
        return False
    return True


def _run(launch: "Launch", rgb: Tensor) -> None:
    # Triton launches on the current device, whatever the tensors are on.
    with torch.cuda.device_of(rgb):
        launch.run()


def _launch(
    kernel: Any, planes: Sequence[Tensor], rgb: Tensor, how: Conversion, *, rows: int, **more: Any
) -> "Launch":
    """A program takes ``rows`` of chroma; ``more``: constants."""
    from lkdn_core.kernels.launch import Launch

    n, _, height, width = rgb.shape
    arguments: dict[str, Tensor | int | float] = {"rgb": rgb, "H": height, "W": width}
    arguments |= zip(("SN", "SC", "SY", "SX"), rgb.stride(), strict=True)
    for k in range(3):
        plane = planes[min(k, len(planes) - 1)]  # gray is three times the same
        arguments[f"plane{k}"] = plane
        arguments |= zip((f"SN{k}", f"SY{k}", f"SX{k}"), plane.stride(), strict=True)
    padding = 3 - len(planes)
    (fy, vertical), (fx, horizontal) = how.vertical, how.horizontal
    columns = _COLUMNS // fx
    constants = {
        "SCALE": how.scale + how.scale[:1] * padding,
        "OFFSET": how.offset + how.offset[:1] * padding,
        "MATRIX": how.matrix,
        "FY": fy,
        "ROWS": _by_distance(fy, vertical),
        "FX": fx,
        "COLUMNS": _by_distance(fx, horizontal),
        "TC": columns,
    }
    grid = -(-height // (fy * rows)), -(-width // (fx * columns)), n
    return Launch(kernel, grid, arguments, constants | more, _WARPS)


@cache
def _by_distance(factor: int, sums: tuple[Taps, ...]) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """The addends of ``kernels/color.py``, by distance and without gaps."""
    weights = {}
    for phase, taps in enumerate(sums):
        for index, weight in taps:
            enlarging = len(sums) == factor
            weights[(index, phase) if enlarging else divmod(index, factor)] = weight
    distances = [distance for distance, _ in weights]
    return tuple(
        (distance, tuple(weights.get((distance, phase), 0.0) for phase in range(factor)))
        for distance in range(min(distances), max(distances) + 1)
    )
