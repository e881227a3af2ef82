"""`lkdn_core.color` in Triton (``kernels/color.py``), for planes that lie in a GPU's memory.

Made of the same tables by the same formulas; sums are in another order, so results differ by
rounding: RGB by 1e-6, an integer sample by one code, and only where it lies between two.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from lkdn_core.chroma import Taps
from lkdn_core.conversion import Conversion, decoding, encoding
from lkdn_core.formats import FrameFormat

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

    return _launch(color.decode, planes, rgb, how, {}, rows=1)


def encoding_launch(rgb: Tensor, planes: Sequence[Tensor], how: Conversion) -> "Launch":
    """What `encode` runs."""
    from lkdn_core.kernels import color

    constants = {"PLANES": len(planes), "TY": _ROWS}
    return _launch(color.encode, planes, rgb, how, constants, rows=_ROWS)


@cache
def _works(device: torch.device) -> bool:
    """Triton may be missing, find no C compiler, or be too old, or too new for the GPU."""
    # The most common format, so that compiling for it is seldom in vain.
    format = FrameFormat(family="yuv", subsampling=(1, 1)).resolved(2, 2)
    shapes = format.plane_shapes(2, 2)
    planes = [torch.zeros(1, *shape, dtype=format.dtype, device=device) for shape in shapes]
    rgb = torch.zeros(1, 3, 2, 2, device=device)
    try:
        decode(planes, rgb.half(), decoding(format))
        encode(rgb, planes, encoding(format))
    except Exception as error:  # whatever it is, torch does without
        log.info("colours on %s are converted by torch: %s", device, error)
        return False
    return True


def _run(launch: "Launch", rgb: Tensor) -> None:
    # Triton launches on the current device, whatever the tensors are on.
    with torch.cuda.device_of(rgb):
        launch.run()


def _launch(
    kernel: Any,
    planes: Sequence[Tensor],
    rgb: Tensor,
    how: Conversion,
    more: Mapping[str, int],
    *,
    rows: int,
) -> "Launch":
    """A program takes ``rows`` of chroma; ``more``: constants."""
    from lkdn_core.kernels.launch import Launch

    n, _, height, width = rgb.shape
    arguments: dict[str, Tensor | int | float] = {"rgb": rgb, "H": height, "W": width}
    arguments |= zip(("SN", "SC", "SY", "SX"), rgb.stride(), strict=True)
    for k in range(3):
        plane = planes[min(k, len(planes) - 1)]
        arguments[f"plane{k}"] = plane
        arguments |= zip((f"SN{k}", f"SY{k}", f"SX{k}"), plane.stride(), strict=True)
    (fy, vertical), (fx, horizontal) = how.vertical, how.horizontal
    (y0, down), (x0, across) = _by_distance(fy, vertical), _by_distance(fx, horizontal)
    groups = _COLUMNS // fx
    arguments["table"] = _table(how, rgb.device)
    constants: dict[str, int | str | bool] = {"MIXED": bool(how.matrix), "TC": groups}
    constants |= {"FY": fy, "KY": len(down), "Y0": y0, "FX": fx, "KX": len(across), "X0": x0}
    grid = -(-height // (fy * rows)), -(-width // (fx * groups)), n
    return Launch(kernel, grid, arguments, constants | dict(more), _WARPS)


@cache
def _table(how: Conversion, device: torch.device) -> Tensor:
    """``table`` of ``kernels/color.py``. It is there when this returns, for every stream."""
    numbers = [*(how.scale * 3)[:3], *(how.offset * 3)[:3]]  # gray: three times the same
    numbers += [weight for row in how.matrix for weight in row]
    numbers += [0.0] * (15 - len(numbers)) + [how.limit]
    for axis in (how.vertical, how.horizontal):
        numbers += [weight for weights in _by_distance(*axis)[1] for weight in weights]
    return torch.tensor(numbers, dtype=torch.float32, device=device)


@cache
def _by_distance(factor: int, sums: tuple[Taps, ...]) -> tuple[int, list[list[float]]]:
    """The least distance of an addend, and the weights of each distance from there on."""
    weights = {}
    for phase, taps in enumerate(sums):
        for index, weight in taps:
            enlarging = len(sums) == factor
            weights[(index, phase) if enlarging else divmod(index, factor)] = weight
    distances = [distance for distance, _ in weights]
    first, last = min(distances), max(distances)
    return first, [
        [weights.get((distance, phase), 0.0) for phase in range(factor)]
        for distance in range(first, last + 1)
    ]
