"""Fused weights to the tensors the kernels read: merged, transposed, padded."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.fuse import EPS, block_names

__all__ = ["Packed", "pack"]


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights of one network for the kernels, and its sizes.

    ``channels`` are the real ones; ``wide`` and ``narrow`` are they and half of them, padded.
    Matrices (in, out) have the dtype of the maps, everything else is float32. ``blocks`` holds the
    tensors of each block, ``eps`` the epsilon of each block's norm, ``ends`` the rest.
    """

    channels: int
    wide: int
    narrow: int
    scale: int
    dtype: torch.dtype
    blocks: list[dict[str, Tensor]]
    eps: list[float]
    ends: dict[str, Tensor]


def pack(weights: Mapping[str, Tensor], *, device: torch.device, dtype: torch.dtype) -> Packed:
    """Weights of ``fuse.fuse`` (float64, range-folded if ``dtype`` asks for it) for the kernels.

    Padded channels are 0 everywhere, so they stay 0 in every map.
    """
    channels = weights["head.weight"].shape[0]
    packer = _Packer(weights, -(-channels // 8) * 8, -(-channels // 8) * 4, device, dtype)
    names = block_names(weights)
    eps = [float(weights.get(f"{name}.eps", EPS)) for name in names]
    blocks = [packer.block(name, channels // 2) for name in names]
    scale = round((weights["upsampler.0.weight"].shape[0] / 3) ** 0.5)
    ends = packer.ends(channels, len(names))
    return Packed(channels, packer.wide, packer.narrow, scale, dtype, blocks, eps, ends)


@dataclass(frozen=True, slots=True)
class _Packer:
    weights: Mapping[str, Tensor]
    wide: int
    narrow: int
    device: torch.device
    dtype: torch.dtype

    def block(self, name: str, half: int) -> dict[str, Tensor]:
        c, d = self.wide, self.narrow
        c5, u_bias = self._matrix(f"{name}.c5"), self.weights[f"{name}.c5.bias"]
        point, a_bias = (
            self._matrix(f"{name}.atten.pointwise"),
            self.weights[f"{name}.atten.pointwise.bias"],
        )
        # The four parts of the concatenation are padded one by one.
        join = torch.stack([c5, c5 @ point]).unflatten(1, (4, half))
        u_weight, a_weight = F.pad(join, (0, c - join.shape[3], 0, d - half)).flatten(1, 2)
        out = {
            "u": self._put(u_weight, self.dtype),
            "u.bias": self._vector(u_bias, c),
            "a": self._put(a_weight, self.dtype),
            "a.bias": self._vector(u_bias @ point + a_bias, c),
            "c6": self._padded(f"{name}.c6", c, c),
            "c6.bias": self._vector(self.weights[f"{name}.c6.bias"], c),
            "gain": self._vector(self.weights[f"{name}.pixel_norm.weight"], c),
            "shift": self._vector(self.weights[f"{name}.pixel_norm.bias"], c),
            "c4": self._padded(f"{name}.c4.pw", c, d),
        }
        for i in (1, 2, 3):
            out[f"pw{i}"] = self._padded(f"{name}.c{i}_r.pw", c, c)
            out[f"d{i}"] = self._padded(f"{name}.c{i}_d", c, d)
            out[f"d{i}.bias"] = self._vector(self.weights[f"{name}.c{i}_d.bias"], d)
            out |= self._taps(f"r{i}", f"{name}.c{i}_r.dw", c)
        out |= self._taps("r4", f"{name}.c4.dw", d)
        out |= self._taps("local", f"{name}.atten.depthwise", c)
        return out | self._taps("large", f"{name}.atten.depthwise_dilated", c)

    def ends(self, channels: int, blocks: int) -> dict[str, Tensor]:
        c = self.wide
        first = self.weights["head.weight"].flatten(1).T  # (27, C)
        trunk = self._matrix("c1").unflatten(0, (blocks, channels))
        up = self.weights["upsampler.0.weight"].permute(2, 3, 1, 0).flatten(0, 1)  # (9, C, 3 s^2)
        missing = c - channels
        return {
            "head": self._put(F.pad(first, (0, missing)), self.dtype),
            "head.bias": self._vector(self.weights["head.bias"], c),
            "c1": self._put(F.pad(trunk, (0, missing, 0, missing)), self.dtype),
            "c1.bias": self._vector(self.weights["c1.bias"], c),
            "c2": self._padded("c2.pw", c, c),
            **self._taps("c2", "c2.dw", c),
            "up": self._put(F.pad(up, (0, 0, 0, missing)), self.dtype),
            "up.bias": self._put(self.weights["upsampler.0.bias"], torch.float32),
        }

    def _matrix(self, key: str) -> Tensor:
        """The weight of a 1x1 convolution as (in, out)."""
        return self.weights[f"{key}.weight"][:, :, 0, 0].T

    def _padded(self, key: str, rows: int, columns: int) -> Tensor:
        m = self._matrix(key)
        return self._put(F.pad(m, (0, columns - m.shape[1], 0, rows - m.shape[0])), self.dtype)

    def _taps(self, name: str, key: str, size: int) -> dict[str, Tensor]:
        """A depth-wise convolution as (K*K, size) and its bias."""
        taps = self.weights[f"{key}.weight"].flatten(1).T
        return {
            f"{name}.taps": self._put(F.pad(taps, (0, size - taps.shape[1])), torch.float32),
            f"{name}.bias": self._vector(self.weights[f"{key}.bias"], size),
        }

    def _vector(self, v: Tensor, size: int) -> Tensor:
        return self._put(F.pad(v, (0, size - len(v))), torch.float32)

    def _put(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        return t.to(self.device, dtype).contiguous()
