"""The network that runs: fused weights executed by plain torch, on any device and dtype."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.fuse import EPS, block_names

__all__ = [
    "DepthwiseConv",
    "attend",
    "depthwise_conv",
    "distill",
    "head",
    "run_network",
    "run_unshuffled",
]

#: ``(x, weight, bias, dilation) -> y``: a depth-wise KxK with "same" zero padding.
DepthwiseConv = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def run_network(
    weights: Mapping[str, Tensor], x: Tensor, *, depthwise: DepthwiseConv | None = None
) -> Tensor:
    """Run fused weights (``fuse.fuse``, or its differentiable parts) on RGB.

    ``x`` (N, 3, H, W), same dtype and device as ``weights``; returns (N, 3, sH, sW), not clamped.
    ``depthwise`` replaces the depth-wise convolutions (training has some with fast gradients).
    """
    y = run_unshuffled(weights, x, depthwise=depthwise)
    return F.pixel_shuffle(y, round((y.shape[1] / 3) ** 0.5))


def run_unshuffled(
    weights: Mapping[str, Tensor], x: Tensor, *, depthwise: DepthwiseConv | None = None
) -> Tensor:
    """`run_network` before its pixel shuffle: (N, 3ss, H, W)."""
    depthwise = depthwise or depthwise_conv
    first = head(weights, x)
    y, outs = first, []
    for block in block_names(weights):
        y = y + attend(weights, block, distill(weights, block, y, depthwise), depthwise)
        outs.append(y)
    y = F.gelu(_conv(weights, "c1", torch.cat(outs, 1)))
    y = _bsconv(weights, "c2", y, depthwise) + first
    return _conv(weights, "upsampler.0", y, padding=1)


def head(w: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """RGB (N, 3, H, W) to first features (N, C, H, W)."""
    return _conv(w, "head", x, padding=1)


def distill(w: Mapping[str, Tensor], block: str, x: Tensor, depthwise: DepthwiseConv) -> Tensor:
    """The distillation half of an LKDB: ``u`` (N, C, H, W), which the attention works on."""
    r, parts = x, []
    for i in (1, 2, 3):
        parts.append(_conv(w, f"{block}.c{i}_d", r))
        r = F.gelu(_bsconv(w, f"{block}.c{i}_r", r, depthwise))
    parts.append(_bsconv(w, f"{block}.c4", r, depthwise))
    # One GELU after the concatenation, not four before it: same values, and its gradient is dense.
    return _conv(w, f"{block}.c5", F.gelu(torch.cat(parts, 1)))


def attend(w: Mapping[str, Tensor], block: str, u: Tensor, depthwise: DepthwiseConv) -> Tensor:
    """The attention half of an LKDB up to its pixel norm, without the residual sum."""
    small, large = f"{block}.atten.depthwise", f"{block}.atten.depthwise_dilated"
    a = _conv(w, f"{block}.atten.pointwise", u)
    b = depthwise(a, w[f"{small}.weight"], w[f"{small}.bias"], 1)
    v = depthwise(b, w[f"{large}.weight"], w[f"{large}.bias"], 3)
    return _pixel_norm(w, block, _conv(w, f"{block}.c6", u * v))


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """The plain ``DepthwiseConv``."""
    padding = weight.shape[2] // 2 * dilation
    return F.conv2d(x, weight, bias, 1, padding, dilation, x.shape[1])


def _pixel_norm(w: Mapping[str, Tensor], block: str, z: Tensor) -> Tensor:
    gain, shift = w[f"{block}.pixel_norm.weight"], w[f"{block}.pixel_norm.bias"]
    eps = w.get(f"{block}.eps")
    # torch normalises in float32 whatever the dtype, so a folded epsilon may be tiny.
    z = z.permute(0, 2, 3, 1)
    z = F.layer_norm(z, gain.shape, gain, shift, EPS if eps is None else float(eps))
    return z.permute(0, 3, 1, 2)


def _bsconv(w: Mapping[str, Tensor], key: str, x: Tensor, depthwise: DepthwiseConv) -> Tensor:
    mixed = _conv(w, f"{key}.pw", x)
    return depthwise(mixed, w[f"{key}.dw.weight"], w[f"{key}.dw.bias"], 1)


def _conv(w: Mapping[str, Tensor], key: str, x: Tensor, *, padding: int = 0) -> Tensor:
    return F.conv2d(x, w[f"{key}.weight"], w.get(f"{key}.bias"), 1, padding)
