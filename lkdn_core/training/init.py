"""Starting points: an exact bilinear interpolation, or the body of another scale."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lkdn_core.arch import INPUT_COPIES, LKDN, RepUpsampler
from lkdn_core.errors import WeightsError

__all__ = ["load_body", "start_as_bilinear"]


@torch.no_grad()
def start_as_bilinear(model: LKDN) -> None:
    """Make an untrained network compute bilinear enlargement exactly; the layers are unchanged.

    The first three features carry RGB, the last BSConv starts at zero, and the upsampler reads
    those three features only. Every other weight keeps its random start.
    """
    weights = model.state_dict()
    pw, dw = weights["fea_conv.pw.weight"], weights["fea_conv.dw.weight"]
    pw[:3] = torch.eye(3).repeat(1, INPUT_COPIES)[:, :, None, None] / INPUT_COPIES
    dw[:3] = 0
    dw[:3, 0, 1, 1] = 1
    weights["fea_conv.dw.bias"][:3] = 0
    weights["c2.dw.weight"].zero_()
    weights["c2.dw.bias"].zero_()
    for name in weights:
        if name.startswith("upsampler.") and "conv1x1" not in name:
            weights[name].zero_()
    rep = isinstance(model.upsampler, RepUpsampler)
    kernel = weights["upsampler.conv3.weight" if rep else "upsampler.0.weight"]
    taps = _bilinear_taps(model.config.scale)
    for colour in range(3):
        kernel.view(3, -1, *kernel.shape[1:])[colour, :, colour] = taps


def _bilinear_taps(scale: int) -> Tensor:
    """3x3 kernels (s*s, 3, 3), one for each position inside an enlarged pixel."""
    offset = (torch.arange(scale) + 0.5) / scale - 0.5  # from the pixel's centre, in pixels
    line = torch.stack([(-offset).clamp_min(0), 1 - offset.abs(), offset.clamp_min(0)], 1)
    return torch.einsum("iy,jx->ijyx", line, line).reshape(-1, 3, 3)


def load_body(model: LKDN, weights: Mapping[str, Tensor]) -> None:
    """Copy everything but the upsampler from training-form ``weights`` of another scale.

    Weights of the same scale are copied whole. Raises ``WeightsError`` if they don't fit.
    """
    own = model.state_dict()
    if all(k in weights and weights[k].shape == v.shape for k, v in own.items()):
        model.load_state_dict(dict(weights))
        return
    body = {k: v for k, v in weights.items() if not k.startswith("upsampler.")}
    expected = {k: v.shape for k, v in own.items() if not k.startswith("upsampler.")}
    if {k: v.shape for k, v in body.items()} != expected:
        raise WeightsError("start: weights in training form of the same network are accepted")
    model.load_state_dict(own | body)
