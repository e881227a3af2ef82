"""`lkdn_core.color` in C++ (``native/cpu/color.cpp``), for planes that lie in the CPU's memory.

Made of the same tables by the same formulas; sums are in another order, so results differ by
rounding: RGB by 1e-6, an integer sample by one code, and only where it lies between two.
"""

import ctypes as c
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor

from lkdn_core.chroma import Taps
from lkdn_core.conversion import Conversion
from lkdn_core.native_library import native_library

__all__ = ["decode", "decodes", "encode", "encodes"]

#: What the library says where the processor can't do it.
_ABSENT: Final = 2
_SAMPLES: Final = {torch.uint8: 0, torch.uint16: 1, torch.float32: 2}


def decodes(planes: Sequence[Tensor]) -> bool:
    """Whether the library is here and makes RGB of these planes."""
    on_cpu = all(plane.device.type == "cpu" for plane in planes)
    return on_cpu and planes[0].dtype in _SAMPLES and native_library() is not None


def encodes(rgb: Tensor, planes: Sequence[Tensor]) -> bool:
    """Whether the library is here and fills these planes with that RGB."""
    dense = all(plane.stride(-1) == 1 for plane in planes)
    return dense and rgb.dtype == torch.float32 and rgb.device.type == "cpu" and decodes(planes)


def decode(
    planes: Sequence[Tensor], rgb: Tensor, how: Conversion, *, instructions: str | None = None
) -> None:
    """Fill ``rgb`` (N, 3, H, W) float32, rows dense, with planes (N, h, w), clipped to [0, 1].

    ``instructions``: one of ``instruction_sets()``, by default the best. Raises ``RuntimeError``
    for lack of memory.
    """
    _call("lkdn_decode", [_dense(plane) for plane in planes], rgb, how, instructions)


def encode(
    rgb: Tensor, planes: Sequence[Tensor], how: Conversion, *, instructions: str | None = None
) -> None:
    """Fill ``planes``, rows dense, with ``rgb``, clipped to [0, 1] first; `decode`'s inverse."""
    _call("lkdn_encode", planes, _dense(rgb), how, instructions)


def _dense(x: Tensor) -> Tensor:
    # Not `contiguous`, which leaves alone what is one sample wide.
    return x if x.stride(-1) == 1 else x.clone(memory_format=torch.contiguous_format)


class _Plane(c.Structure):
    _fields_ = (("data", c.c_void_p), ("row", c.c_int64), ("picture", c.c_int64))


class _Axis(c.Structure):
    _fields_ = (
        *((name, c.c_int32) for name in ("factor", "before", "behind")),
        ("counts", c.POINTER(c.c_int32)),
        ("index", c.POINTER(c.c_int32)),
        ("weight", c.POINTER(c.c_float)),
    )


class _Conversion(c.Structure):
    """``Conversion`` of ``native/cpu/color.h``."""

    _fields_ = (
        *((name, c.c_int32) for name in ("pictures", "height", "width", "planes")),
        *((name, c.c_int32) for name in ("sample", "mixed")),
        ("limit", c.c_float),
        ("matrix", c.c_float * 3 * 3),
        ("scale", c.c_float * 3),
        ("offset", c.c_float * 3),
        ("plane", _Plane * 3),
        ("rgb", c.c_void_p),
        *((name, c.c_int64) for name in ("rgb_row", "rgb_plane", "rgb_picture")),
        ("vertical", _Axis),
        ("horizontal", _Axis),
    )


def _call(
    name: str, planes: Sequence[Tensor], rgb: Tensor, how: Conversion, instructions: str | None
) -> None:
    library = native_library()
    assert library is not None
    assert all(tensor.stride(-1) == 1 for tensor in (*planes, rgb))
    item = planes[0].element_size()
    n, _, height, width = rgb.shape
    described = _Conversion(
        *(n, height, width, len(planes), _SAMPLES[planes[0].dtype], bool(how.matrix), how.limit),
        matrix=_rows(how.matrix),
        scale=(c.c_float * 3)(*how.scale),
        offset=(c.c_float * 3)(*how.offset),
        plane=(_Plane * 3)(
            *(_Plane(p.data_ptr(), p.stride(1) * item, p.stride(0) * item) for p in planes)
        ),
        rgb=rgb.data_ptr(),
        rgb_row=rgb.stride(2),
        rgb_plane=rgb.stride(1),
        rgb_picture=rgb.stride(0),
        vertical=_axis(*how.vertical),
        horizontal=_axis(*how.horizontal),
    )
    chosen = instructions.encode() if instructions else None
    function: Callable[..., int] = getattr(library, name)
    failed = function(chosen, c.byref(described), torch.get_num_threads())
    assert failed != _ABSENT, f"no instruction set {instructions}"
    if failed:
        raise RuntimeError("not enough memory for the rows of a conversion")


@lru_cache
def _rows(matrix: tuple[tuple[float, ...], ...]) -> Any:
    rows = (c.c_float * 3 * 3)()
    for i, row in enumerate(matrix):
        rows[i][: len(row)] = list(row)
    return rows


@lru_cache
def _axis(factor: int, phases: tuple[Taps, ...]) -> _Axis:
    taps = [tap for phase in phases for tap in phase]
    index = [i for i, _ in taps]
    return _Axis(
        factor,
        max(0, -min(index)),
        max(0, *index),
        (c.c_int32 * len(phases))(*map(len, phases)),
        (c.c_int32 * len(taps))(*index),
        (c.c_float * len(taps))(*(weight for _, weight in taps)),
    )
