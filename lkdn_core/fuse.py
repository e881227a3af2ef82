"""Exact rewrites of a trained network: pure functions from weights to weights.

Weights are plain ``dict[str, Tensor]`` in the layout of the authors' checkpoints. Every function
is differentiable and keeps dtype and device, so training runs the re-parameterised network too
(the gradient reaches the training form through the fold) and inference folds once, in float64.

Zero padding acts on the *intermediate* map of a BSConv: outside the picture the depth-wise
convolution reads 0. None of the folds here changes that.
"""

import re
from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "EPS",
    "Weights",
    "block_names",
    "center_norm",
    "dense_head",
    "fold_range",
    "fold_rbsb",
    "fold_upsampler",
    "fuse",
    "reparameterize",
]

Weights = dict[str, Tensor]
#: Epsilon of the pixel norm (a LayerNorm over channels).
EPS: Final = 1e-5
#: Largest amplitude the attention maps are folded to in half precision. Executed op by op, 16 and
#: 64 still overflowed on synthetic patterns; 4 stays finite everywhere and loses under 0.0003 dB.
RANGE_TARGET: Final = 4.0


def fold_rbsb(weights: Mapping[str, Tensor]) -> Weights:
    """RBSB to BSConv: ``pw' = pw + I``, ``dw' = dw3 + pad(dw1) + delta``, ``b' = b3 + b1``."""
    out = dict(weights)
    for key in [k for k in weights if k.endswith(".rep1x1.weight")]:
        prefix = key.removesuffix("rep1x1.weight")
        pw = weights[prefix + "pw.weight"]  # (C, C, 1, 1)
        identity = torch.eye(pw.shape[0], dtype=pw.dtype, device=pw.device)[:, :, None, None]
        centre = F.pad(weights[key] + 1, (1, 1, 1, 1))  # (C, 1, 3, 3)
        out[prefix + "pw.weight"] = pw + identity
        out[prefix + "dw.weight"] = weights[prefix + "dw.weight"] + centre
        out[prefix + "dw.bias"] = weights[prefix + "dw.bias"] + weights[prefix + "rep1x1.bias"]
        del out[key], out[prefix + "rep1x1.bias"]
    return out


def fold_upsampler(weights: Mapping[str, Tensor]) -> Weights:
    """LKDN-S upsampler to one 3x3: ``conv1 + conv3 + conv3x3 after conv1x1`` (section 3.2)."""
    if "upsampler.conv3.weight" not in weights:
        return dict(weights)
    w = {k.removeprefix("upsampler."): v for k, v in weights.items() if k.startswith("upsampler.")}
    chained = torch.einsum("omyx,mi->oiyx", w["conv3x3.weight"], w["conv1x1.weight"][:, :, 0, 0])
    bias = torch.einsum("omyx,m->o", w["conv3x3.weight"], w["conv1x1.bias"])
    out = {k: v for k, v in weights.items() if not k.startswith("upsampler.")}
    out["upsampler.0.weight"] = w["conv3.weight"] + F.pad(w["conv1.weight"], (1, 1, 1, 1)) + chained
    out["upsampler.0.bias"] = w["conv3.bias"] + w["conv1.bias"] + w["conv3x3.bias"] + bias
    return out


def reparameterize(weights: Mapping[str, Tensor]) -> Weights:
    """Training form to deployed form: BSConv refinements and a one-convolution upsampler.

    The result is the layout weights are shipped in; weights already in it come back unchanged.
    """
    return fold_upsampler(fold_rbsb(weights))


def dense_head(weights: Mapping[str, Tensor]) -> Weights:
    """``fea_conv`` as one dense 3x3 on RGB (key ``head``): the input copies sum into the 1x1."""
    pw, dw = weights["fea_conv.pw.weight"], weights["fea_conv.dw.weight"]
    rgb = pw.unflatten(1, (-1, 3)).sum(1)  # (C, 3, 1, 1)
    out = {k: v for k, v in weights.items() if not k.startswith("fea_conv.")}
    out["head.weight"] = rgb * dw  # (C, 3, 3, 3)
    out["head.bias"] = weights["fea_conv.dw.bias"]
    return out


def center_norm(weights: Mapping[str, Tensor]) -> Weights:
    """Fold the mean removal of every pixel norm into ``c6``, so that only the scaling is left."""
    out = dict(weights)
    for block in block_names(weights):
        weight, bias = weights[f"{block}.c6.weight"], weights[f"{block}.c6.bias"]
        out[f"{block}.c6.weight"] = weight - weight.mean(0, keepdim=True)
        out[f"{block}.c6.bias"] = bias - bias.mean()
    return out


def fold_range(weights: Mapping[str, Tensor], amplitudes: Mapping[str, Tensor]) -> Weights:
    """Scale the attention maps by powers of two per channel so that they fit half precision.

    ``amplitudes`` holds, per block, the largest magnitude of each channel of ``u`` (after c5),
    ``a`` (after the 1x1), ``b`` (after the 5x5) and ``p`` (the product entering c6), under the keys
    ``B1.u`` ... and shape (C,). Factors are divided out in the next weights; the norm after c6
    hides the last one, ``kappa``, when its epsilon (new key ``B1.eps``, shape ()) follows. Exact:
    powers of two change no mantissa. Without it LKDN is NaN in half precision.
    """
    out = dict(weights)
    for block in block_names(weights):
        u, a, b, p = (_power_of_two(amplitudes[f"{block}.{name}"]) for name in "uabp")
        att = f"{block}.atten"
        _scale(out, f"{block}.c5", bias=u, weight=u)
        _scale(out, f"{att}.pointwise", bias=a, weight=a, inputs=u)
        _scale(out, f"{att}.depthwise", bias=b, weight=b / a)
        _scale(out, f"{att}.depthwise_dilated", bias=p / u, weight=p / u / b)
        largest = (out[f"{block}.c6.weight"] / p[None, :, None, None]).abs().max()
        # Where the weights are 0 the bias has to fit; where both are, any factor does.
        bias = out[f"{block}.c6.bias"].abs().max() / RANGE_TARGET
        largest = largest.maximum(bias).clamp_min(1e-12)
        kappa = torch.exp2(-torch.ceil(torch.log2(largest))).expand(len(p))
        _scale(out, f"{block}.c6", bias=kappa, weight=kappa, inputs=p)
        # The floor is a normal number in float32, where the norm is computed.
        out[f"{block}.eps"] = (EPS * kappa[0] ** 2).clamp_min(1e-30)
    return out


def fuse(weights: Mapping[str, Tensor]) -> Weights:
    """Every fold the engine runs on, in float64: any form to the keys ``run_network`` reads."""
    double = {k: v.double() for k, v in weights.items()}
    return center_norm(dense_head(reparameterize(double)))


def block_names(weights: Mapping[str, Tensor]) -> list[str]:
    """``["B1", "B2", ...]`` as far as ``weights`` goes."""
    count = sum(bool(re.fullmatch(r"B\d+\.c5\.weight", k)) for k in weights)
    return [f"B{i}" for i in range(1, count + 1)]


def _power_of_two(amplitude: Tensor) -> Tensor:
    # A dead channel would ask for an infinite factor; 2^40 is past any use.
    return torch.exp2(torch.floor(torch.log2(RANGE_TARGET / amplitude.double().clamp_min(1e-12))))


def _scale(
    weights: Weights, key: str, *, bias: Tensor, weight: Tensor, inputs: Tensor | None = None
) -> None:
    """Multiply output channels by ``weight`` and ``bias``, divide input channels by ``inputs``."""
    scaled = weights[f"{key}.weight"] * weight[:, None, None, None]
    weights[f"{key}.weight"] = scaled if inputs is None else scaled / inputs[None, :, None, None]
    weights[f"{key}.bias"] = weights[f"{key}.bias"] * bias
