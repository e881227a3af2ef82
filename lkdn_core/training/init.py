"""Starting points: an exact bilinear interpolation, or weights there are already."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lkdn_core.arch import INPUT_COPIES, LKDN, RepUpsampler
from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import Weights, block_names, reparameterize
from lkdn_core.training.grow import grow

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
    """Start from ``weights`` of the same network, or a smaller one, in training or deployed form.

    Of another scale everything but the upsampler is taken. A smaller network is grown (`grow`).
    Raises ``ArgumentError`` if they don't fit.
    """
    own = model.state_dict()
    if model.config.deployable and _is_smaller(weights, own):
        weights = grow(reparameterize(weights), reparameterize(own))
    given = _unfold(weights) if model.config.refinement == "rbsb" else dict(weights)
    if all(given[k].shape == v.shape for k, v in own.items() if k in given and _upsampling(k)):
        taken = given
    else:
        taken = {k: v for k, v in given.items() if not _upsampling(k)}
    expected = {k: v.shape for k, v in own.items() if k in taken or not _upsampling(k)}
    if {k: v.shape for k, v in taken.items()} != expected:
        raise ArgumentError(
            "start: weights of the same network or a smaller one are accepted, got another one's"
        )
    model.load_state_dict(own | taken)


def _unfold(weights: Mapping[str, Tensor]) -> Weights:
    """Deployed form back to training form, as ``fuse.reparameterize`` would fold it again.

    What the fold has summed up goes to one branch, the others are zero; the 1x1 that widens the
    upsampler's chain keeps what the network has. Training form comes back unchanged.
    """
    out = dict(weights)
    for key in [k for k in weights if k.endswith("_r.pw.weight")]:
        prefix = key.removesuffix("pw.weight")
        if f"{prefix}rep1x1.weight" in weights:
            continue
        dw = weights[f"{prefix}dw.weight"].clone()
        dw[:, 0, 1, 1] -= 1
        out[f"{prefix}dw.weight"] = dw
        out[key] = weights[key] - torch.eye(len(dw))[:, :, None, None]
        out[f"{prefix}rep1x1.weight"] = torch.zeros(len(dw), 1, 1, 1)
        out[f"{prefix}rep1x1.bias"] = torch.zeros(len(dw))
    if "upsampler.0.weight" in weights:
        kernel, bias = out.pop("upsampler.0.weight"), out.pop("upsampler.0.bias")
        out["upsampler.conv3.weight"], out["upsampler.conv3.bias"] = kernel, bias
        out["upsampler.conv1.weight"] = torch.zeros(*kernel.shape[:2], 1, 1)
        out["upsampler.conv1.bias"] = torch.zeros_like(bias)
        out["upsampler.conv3x3.weight"] = torch.zeros(len(bias), 2 * kernel.shape[1], 3, 3)
        out["upsampler.conv3x3.bias"] = torch.zeros_like(bias)
    return out


def _is_smaller(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether ``weights`` has fewer channels or blocks than ``own``, and no more of the other."""
    sizes = [(len(w["fea_conv.dw.bias"]), len(block_names(w))) for w in (weights, own)]
    return sizes[0] != sizes[1] and all(a <= b for a, b in zip(*sizes, strict=True))


def _upsampling(key: str) -> bool:
    return key.startswith("upsampler.")
