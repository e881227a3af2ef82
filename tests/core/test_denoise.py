"""``denoise``: networks between the two that ship."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lkdn_core import Upscaler, load_model
from lkdn_core.calibrate import calibration_pictures
from lkdn_core.errors import ArgumentError


def decibels(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_weights_go_from_one_network_to_the_other(scale: int) -> None:
    sharp, smooth = (load_model(name, scale)[0] for name in ("lkdn-s", "lkdn-s-video"))
    for strength, between in ((0, sharp), (1.0, smooth)):
        weights, config = load_model(scale=scale, denoise=strength)
        assert config == load_model("lkdn-s", scale)[1]
        assert weights.keys() == between.keys()
        assert all(torch.equal(weights[name], between[name]) for name in between)
    quarter, _ = load_model("lkdn-s-video", scale, denoise=0.25)
    for name, weight in quarter.items():
        torch.testing.assert_close(weight, 0.75 * sharp[name] + 0.25 * smooth[name])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pictures_do_too(scale: int) -> None:
    """One in the middle is nearer to the mean of both ends' pictures than the ends to each other.

    Networks that were not trained one from the other have nothing of use between them.
    """
    natural = calibration_pictures()[:8]
    sharp, middle, smooth = (
        Upscaler(scale=scale, denoise=strength, device="cpu").up(natural)
        for strength in (0, 0.5, 1)
    )
    assert decibels(middle, (sharp + smooth) / 2) > decibels(sharp, smooth) + 2


@pytest.mark.parametrize("strength", [-0.1, 1.01, math.nan, True, "0.5"])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(ArgumentError, match="denoise: a number from 0 to 1 is accepted, got"):
        Upscaler(denoise=strength)


def test_other_networks_are_refused(weights_file: Path) -> None:
    message = "denoise: is between lkdn-s and lkdn-s-video, with no other network, got "
    with pytest.raises(ArgumentError, match=f"{message}official-lkdn"):
        Upscaler(model="official-lkdn", denoise=0.5)
    with pytest.raises(ArgumentError, match=message):
        Upscaler(scale=2, weights=weights_file, denoise=0.5)
