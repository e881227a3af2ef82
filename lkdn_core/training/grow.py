"""Weights of a small network in a larger one that computes the same and can learn more."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lkdn_core.fuse import Weights, block_names, center_norm

__all__ = ["grow"]


@torch.no_grad()
def grow(weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> Weights:
    """``weights`` in the shapes of ``fresh``, those of a larger network; both in deployed form.

    The function stays the same, but for rounding (as in Net2Net, Chen et al., ICLR 2016): what new
    channels and blocks add to the sum that runs through all blocks starts at zero, and inside a
    block nothing old reads what is new. All else that is new keeps its random value in ``fresh``,
    so that there are gradients for it. An upsampler of another scale stays as it is there.
    """
    wide, narrow = (len(w["fea_conv.dw.bias"]) for w in (fresh, weights))
    old, new = center_norm(weights), {k: v.clone() for k, v in fresh.items()}
    for block in block_names(weights):
        # The norm's mean of squares is over new channels too, which are zero.
        for name in (f"{block}.c6.weight", f"{block}.c6.bias"):
            old[name] = old[name] * (wide / narrow) ** 0.5
        name = f"{block}.pixel_norm.weight"
        old[name] = old[name] * (narrow / wide) ** 0.5
    for block in block_names(fresh)[len(block_names(weights)) :]:
        new[f"{block}.pixel_norm.weight"].zero_()
        new[f"{block}.pixel_norm.bias"].zero_()
    for key, value in old.items():
        target, layer = new[key], key.split(".")[-2]
        if key.startswith("upsampler.") and target.shape[0] != value.shape[0]:
            continue
        if key.startswith(("fea_conv.dw", "c2.dw")) or layer == "c6" or key.endswith("norm.bias"):
            target.zero_()
        rows = torch.arange(len(value))
        if value.ndim == 1:
            target[rows] = value
            continue
        # Maps side by side: the distilled ones before c5, those of all blocks before c1.
        each, room = {"c5": (narrow // 2, wide // 2), "c1": (narrow, wide)}.get(layer, (1, 1))
        columns = torch.arange(value.shape[1])
        columns = columns // each * room + columns % each
        if layer != "c1_d" and ".c1_r.pw" not in key:
            target[rows] = 0  # the other layers read more than the sum, where what is new is zero
        target[rows[:, None], columns] = value
    return new
