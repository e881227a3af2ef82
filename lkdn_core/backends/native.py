"""The CPU backend: our own C++ kernels, small tiles streamed through the whole network.

Maps never exist as a whole, only the rows that are still needed, so memory grows with the width of
the picture and not with its area. In bf16 and fp16 most of these rows are in half precision; sums,
and what goes on from block to block, stay float32. The library has an AVX-512, an AVX2 and a
portable form of every kernel, and one more for processors that multiply bfloat16 fast.
Results are the same to the bit for any number of threads, which is ``torch.get_num_threads()``, but
at most 16.
"""

import ctypes as c
from functools import cache
from typing import Final
from weakref import finalize

import torch
from torch import Tensor

from lkdn_core.arch import LKDNConfig
from lkdn_core.fuse import EPS, Weights, block_names
from lkdn_core.native_library import instruction_sets, library_file, native_library
from lkdn_core.prepare import fold
from lkdn_core.progress import Work

__all__ = ["NativeNetwork", "load", "obstacle", "stalls"]

#: Each at the number that the library has for it.
_PRECISIONS: Final = ("fp32", "bf16", "fp16")
_MOST_THREADS: Final = 16
#: What the library says when it was told to stop.
_STOPPED: Final = 2


def obstacle(device: torch.device, precision: str) -> str | None:
    """See ``Backend.obstacle``."""
    if device.type != "cpu":
        return f"it runs on a CPU, not on {device.type}"
    if library_file() is None:
        return "it was not compiled, as no working C++ compiler was found during the install"
    return None if _library() is not None else "its library is of another version or platform"


def stalls(device: torch.device, precision: str) -> bool:
    """See ``Backend.stalls``."""
    return False


def load(
    weights: Weights, config: LKDNConfig, device: torch.device, precision: str
) -> "NativeNetwork":
    """See ``Backend.load``."""
    return NativeNetwork(weights, config, instruction_sets()[0], precision)


class NativeNetwork:
    """A ``Network`` of the library's, in fp32, bf16 or fp16.

    ``instructions`` is one of ``instruction_sets()``.
    """

    dtype = torch.float32
    memory_format = torch.contiguous_format

    def __init__(
        self, weights: Weights, config: LKDNConfig, instructions: str, precision: str = "fp32"
    ) -> None:
        library = _library()
        assert library is not None
        flat = _flatten(fold(weights, precision=precision), config)
        sizes = config.channels, config.blocks, config.scale
        self._handle = library.lkdn_create(
            instructions.encode(),
            *sizes,
            _PRECISIONS.index(precision),
            flat.data_ptr(),
            flat.numel(),
        )
        if not self._handle:
            raise RuntimeError("not enough memory for the weights")
        self._library, self._scale = library, config.scale
        # At the end of the process a thread of a server may still be at work with it.
        finalize(self, library.lkdn_destroy, self._handle).atexit = False

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        n, _, height, width = x.shape
        expected = (n, 3, height * self._scale, width * self._scale)
        assert out.shape == expected and out.stride(3) == 1 and x.is_contiguous()
        assert x.dtype == out.dtype == torch.float32
        threads = _threads()
        for i in range(n):
            failed = self._library.lkdn_run(
                self._handle,
                *(_place(x, i), x.stride(2), x.stride(1)),
                *(_place(out, i), out.stride(2), out.stride(1)),
                *(height, width, threads),
                None if work is None else work.address,
            )
            if failed == _STOPPED:
                return
            if failed:
                raise RuntimeError("not enough memory for the rows between two layers")

    def bytes_for(self, height: int, width: int) -> int:
        # One picture after the other goes through the same memory.
        threads = _threads()
        return int(self._library.lkdn_bytes(self._handle, height, width, threads))

    def release(self) -> None:
        self._library.lkdn_release(self._handle)


def _place(pictures: Tensor, number: int) -> int:
    """The address of one of ``pictures``, without an operation of torch's.

    Those end the process where it ends while a thread of a server is in one.
    """
    return pictures.data_ptr() + number * pictures.stride(0) * pictures.element_size()


def _threads() -> int:
    """More of them would each take memory, and wait for tiles: of HD a row has 80.

    With 32, HD would go beyond what memory there is for a picture, and be cut into parts.
    """
    return min(torch.get_num_threads(), _MOST_THREADS)


def _flatten(w: Weights, config: LKDNConfig) -> Tensor:
    """All weights of ``fold`` as one list: of each layer inputs first, then outputs, then the bias.

    The order is the library's. The refinement and the distillation of a step share their input, and
    are one layer here.
    """
    half, scale = config.channels // 2, config.scale
    none, some = w["head.bias"].new_zeros(config.channels), list[Tensor]()

    def dense(weight: Tensor, bias: Tensor) -> None:  # (outputs, inputs)
        some.extend((weight.T.flatten(), bias))

    def depthwise(key: str) -> None:
        some.extend((w[f"{key}.weight"].flatten(1).T.flatten(), w[f"{key}.bias"]))

    some.extend((w["head.weight"].permute(2, 3, 1, 0).flatten(), w["head.bias"]))
    for i, b in enumerate(block_names(w)):
        for k in (1, 2, 3):
            parts = w[f"{b}.c{k}_r.pw.weight"], w[f"{b}.c{k}_d.weight"]
            dense(torch.cat(parts)[:, :, 0, 0], torch.cat((none, w[f"{b}.c{k}_d.bias"])))
        dense(w[f"{b}.c4.pw.weight"][:, :, 0, 0], none[:half])
        for key in ("c1_r.dw", "c2_r.dw", "c3_r.dw", "c4.dw"):
            depthwise(f"{b}.{key}")
        attention = f"{b}.atten"
        for key in (f"{b}.c5", f"{attention}.pointwise"):
            dense(w[f"{key}.weight"][:, :, 0, 0], w[f"{key}.bias"])
        depthwise(f"{attention}.depthwise")
        depthwise(f"{attention}.depthwise_dilated")
        dense(w[f"{b}.c6.weight"][:, :, 0, 0], w[f"{b}.c6.bias"])
        some.extend((w[f"{b}.pixel_norm.weight"], w[f"{b}.pixel_norm.bias"]))
        some.append(none.new_full((1,), float(w.get(f"{b}.eps", EPS))))
        columns = slice(i * config.channels, (i + 1) * config.channels)
        dense(w["c1.weight"][:, columns, 0, 0], none if i else w["c1.bias"])
    dense(w["c2.pw.weight"][:, :, 0, 0], none)
    depthwise("c2.dw")
    # The pixel shuffle's channels, (RGB, row, column), as (row, RGB, column).
    shuffled = w["upsampler.0.weight"].unflatten(0, (3, scale, scale)).transpose(0, 1).flatten(0, 2)
    some.append(shuffled.permute(2, 3, 1, 0).flatten())
    some.append(w["upsampler.0.bias"].unflatten(0, (3, scale, scale)).transpose(0, 1).flatten())
    return torch.cat(some).float()


@cache
def _library() -> c.CDLL | None:
    """The library, with the types of the functions used here."""
    library = native_library()
    if library is None:
        return None
    sizes, plane = (c.c_int, c.c_int, c.c_int), (c.c_void_p, c.c_int64, c.c_int64)
    library.lkdn_create.argtypes = (c.c_char_p, *sizes, c.c_int, c.c_void_p, c.c_int64)
    library.lkdn_create.restype = c.c_void_p
    for free in (library.lkdn_release, library.lkdn_destroy):
        free.argtypes, free.restype = (c.c_void_p,), None
    library.lkdn_bytes.argtypes, library.lkdn_bytes.restype = (c.c_void_p, *sizes), c.c_int64
    library.lkdn_run.argtypes = (c.c_void_p, *plane, *plane, *sizes, c.c_void_p)
    return library
