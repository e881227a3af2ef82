"""How large the attention maps of a network get, which is what half precision must hold."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lkdn_core.fuse import block_names
from lkdn_core.network import DepthwiseConv, attend, depthwise_conv, distill, head

__all__ = ["attention_amplitudes", "calibration_pictures"]


@torch.inference_mode()
def attention_amplitudes(weights: Mapping[str, Tensor], rgb: Tensor) -> dict[str, Tensor]:
    """Largest magnitude of each channel of the attention's maps, as ``fuse.fold_range`` wants it.

    ``weights`` fused, ``rgb`` (N, 3, H, W) in [0, 1]; returns ``B1.u``, ... of shape (C,).
    """
    amplitudes: dict[str, Tensor] = {}
    x = head(weights, rgb)
    for block in block_names(weights):
        u = distill(weights, block, x, depthwise_conv)
        maps = {"u": u}
        x = x + attend(weights, block, u, _watched(maps))
        amplitudes |= {f"{block}.{k}": v.abs().amax((0, 2, 3)) for k, v in maps.items()}
    return amplitudes


def _watched(maps: dict[str, Tensor]) -> DepthwiseConv:
    """A convolution that puts what goes through the attention into ``maps``, beside its ``u``."""

    def watch(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        y = depthwise_conv(x, weight, bias, dilation)
        maps["a" if dilation == 1 else "b"] = x
        maps["p"] = maps["u"] * y  # the second convolution's is the product that enters c6
        return y

    return watch


@cache
def calibration_pictures() -> Tensor:
    """Photographs, drawings, text and synthetic extremes: (N, 3, 64, 64) float32 in [0, 1]."""
    natural = load_file(Path(__file__).parent / "weights" / "calibration.safetensors")["pictures"]
    sides = [torch.arange(64, device="cpu")] * 2  # whatever torch's default device is
    rows, columns = torch.meshgrid(sides, indexing="ij")
    patterns = [(rows + columns) % 2, rows % 2, (rows // 4 + columns // 4) % 2, rows * 0 + 1]
    synthetic = torch.stack(patterns).float()[:, None].expand(-1, 3, -1, -1)
    random = torch.Generator("cpu").manual_seed(0)
    noise = torch.rand(1, 3, 64, 64, generator=random, dtype=torch.float32, device="cpu")
    return torch.cat([natural.float() / 255, synthetic, noise])
