"""The schedule: which kernel runs on which maps, as a list of launches.

Six kernels a block, three after the last block, one before the first: 52 for LKDN, 34 for LKDN-S.
A list, so that the same launches can be run, compiled ahead of time, or captured in a graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import torch
from torch import Tensor

from lkdn_core.kernels import block, ends
from lkdn_core.kernels.launch import Launch
from lkdn_core.kernels.pack import Packed
from lkdn_core.kernels.tiles import Tile

__all__ = ["Maps", "Schedule", "map_bytes"]

#: Rows of a program, and channels of one of "local".
_ROWS: Final = 4
_CHUNK: Final = 16


@dataclass(frozen=True, slots=True)
class Maps:
    """What the kernels write, (..., pixels padded to 8, C); ``trunk`` before and after a block."""

    trunk: Tensor
    wide: Tensor
    narrow: Tensor
    distilled: Tensor

    @classmethod
    def on(cls, memory: Tensor, net: Packed, n: int, height: int, width: int) -> "Maps":
        """Cut from ``memory``, at least ``map_bytes`` bytes (uint8)."""
        shapes = _shapes(net, n * height * width)
        sizes = [prod(shape) for shape in shapes]
        flat = memory[: sum(sizes) * net.dtype.itemsize].view(net.dtype)
        return cls(*[p.view(s) for p, s in zip(flat.split(sizes), shapes, strict=True)])


def map_bytes(net: Packed, n: int, height: int, width: int) -> int:
    """Bytes of all maps for ``n`` pictures."""
    return net.dtype.itemsize * sum(prod(s) for s in _shapes(net, n * height * width))


def _shapes(net: Packed, pixels: int) -> list[tuple[int, ...]]:
    # Pixels in multiples of 8 keep every map at a multiple of 16 bytes.
    p = -(-pixels // 8) * 8
    count = len(net.blocks) + 1
    return [(count, p, net.wide), (3, p, net.wide), (p, net.narrow), (p, 3 * net.narrow)]


class Schedule:
    """The launches of ``net`` for pictures of one size.

    ``tiles``: as in ``tiles.TILES``. ``gelu``: a form of ``parts.gelu``.
    """

    def __init__(
        self, net: Packed, maps: Maps, shape: torch.Size, *, tiles: Mapping[str, Tile], gelu: str
    ) -> None:
        self.net, self.maps, self.tiles = net, maps, tiles
        self.n, _, self.height, self.width = shape
        self.size = {"H": self.height, "W": self.width}
        # For maps in fp32, which only tests have.
        self.gelu, self.prec = {"GELU": gelu}, {"PREC": "ieee"}
        self.c = {"C": net.wide, "BC": _power_of_two(net.wide)}
        self.d = {"D": net.narrow, "BD": _power_of_two(net.narrow)}

    def trunk(self, x: Tensor) -> Iterator[Launch]:
        """From ``x`` (N, 3, H, W) with any strides to the map that ``pixels`` reads."""
        net, maps, ends_ = self.net, self.maps, self.net.ends
        t, s, _ = maps.wide
        strides = dict(zip(("SN", "SC", "SY", "SX"), x.stride(), strict=True))
        yield self._launch(
            ends.head,
            {"rgb": x, "target": maps.trunk[0], "t": t, "d": maps.distilled}
            | {"weight": ends_["head"], "bias": ends_["head.bias"]}
            | _first(net.blocks[0])
            | strides,
            self.c | self.d | self.gelu | self.prec,
        )
        for i in range(len(net.blocks)):
            yield from self._block(i)
        yield self._launch(
            ends.gather,
            {"trunk": maps.trunk[1:], "t": t, "weight": ends_["c1"], "bias": ends_["c1.bias"]}
            | {"wide": ends_["c2"], "PIXELS": maps.trunk.shape[1]},
            self.c | self.gelu | self.prec | {"BLOCKS": len(net.blocks)},
        )
        yield self._launch(
            ends.residual,
            {"source": t, "first": maps.trunk[0], "target": s} | _taps(ends_, "c2"),
            self.c,
        )

    def pixels(self, out: Tensor) -> Launch:
        """The last launch: fills ``out`` (N, 3, sH, sW), whose last dimension is dense."""
        net, ends_ = self.net, self.net.ends
        strides = dict(zip(("SN", "SC", "SY"), out.stride(), strict=False))
        return self._launch(
            ends.upsample,
            {"source": self.maps.wide[1], "target": out}
            | {"weight": ends_["up"], "bias": ends_["up.bias"]}
            | strides,
            self.c | self.prec | {"S": net.scale, "BO": _power_of_two(3 * net.scale**2)},
        )

    def _block(self, i: int) -> Iterator[Launch]:
        w, d = self.net.blocks[i], self.maps.distilled
        t, s, u = self.maps.wide
        both = self.c | self.d | self.gelu | self.prec
        for slot, source, target in ((1, t, s), (2, s, t)):
            yield self._launch(
                block.refine,
                {"source": source, "t": target, "d": d}
                | _taps(w, f"r{slot}")
                | {"wide": w[f"pw{slot + 1}"], "narrow": w[f"d{slot + 1}"]}
                | {"narrow_bias": w[f"d{slot + 1}.bias"]},
                both | {"SLOT": slot},
            )
        narrow = self.maps.narrow
        yield self._launch(
            block.narrow, {"source": t, "t": narrow, "weight": w["c4"]} | _taps(w, "r3"), both
        )
        yield self._launch(
            block.join,
            {"source": narrow, "d": d, "u": u, "a": t, "u_weight": w["u"], "u_bias": w["u.bias"]}
            | {"a_weight": w["a"], "a_bias": w["a.bias"]}
            | _taps(w, "r4"),
            both,
        )
        chunks = -(-self.net.wide // _CHUNK)
        yield self._launch(
            block.local,
            {"source": t, "target": s} | _taps(w, "local"),
            {"C": self.net.wide, "BC": _CHUNK, "CHUNKS": chunks},
            programs=chunks,
        )
        more = i + 1 < len(self.net.blocks)
        yield self._launch(
            block.attend,
            {"b": s, "u": u, "residual": self.maps.trunk[i], "target": self.maps.trunk[i + 1]}
            | {"t": t, "d": d, "weight": w["c6"], "weight_bias": w["c6.bias"]}
            | {"gain": w["gain"], "shift": w["shift"], "EPS": self.net.eps[i]}
            | _first(self.net.blocks[i + 1] if more else w)
            | _taps(w, "large"),
            both | {"CHANNELS": self.net.channels, "NEXT": more},
            step=3,
        )

    def _launch(
        self,
        kernel: Any,
        arguments: dict[str, Any],
        constants: Mapping[str, int | str | bool],
        *,
        programs: int = 1,
        step: int = 1,
    ) -> Launch:
        """``programs`` share a tile; the rows of a tile lie ``step`` apart."""
        tile = self.tiles[kernel.__name__]
        groups = step * -(-self.height // (_ROWS * step))
        grid = programs * -(-self.width // tile.columns), groups, self.n
        constants = {**constants, "TX": tile.columns}
        return Launch(kernel, grid, arguments | self.size, constants, tile.warps)


def _first(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a block's first two 1x1 convolutions read."""
    return {"wide": weights["pw1"], "narrow": weights["d1"], "narrow_bias": weights["d1.bias"]}


def _taps(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {"taps": weights[f"{name}.taps"], "bias": weights[f"{name}.bias"]}


def _power_of_two(size: int) -> int:
    """What Triton's tensors may have: a power of two, for products at least 16."""
    return max(16, 1 << (size - 1).bit_length())
