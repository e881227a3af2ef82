"""The signature of ``lkdn.Upscale``, its errors, and the functions beside it."""

import math
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import vapoursynth as vs
from vs_clips import noise

import lkdn_core
import lkdn_vapoursynth
from lkdn_core.errors import LKDNError


def test_the_filter_is_loaded_without_being_asked(core: vs.Core) -> None:
    assert Path(core.lkdn.plugin_path) == lkdn_vapoursynth.plugin_path()
    assert [f.name for f in core.lkdn.functions()] == ["Devices", "Models", "Upscale", "Version"]


def test_without_the_filter_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, message in (("json", "install one"), (None, "VapourSynth is not installed")):
        spec = find_spec(module) if module else None
        monkeypatch.setattr(lkdn_vapoursynth, "find_spec", lambda name: spec)  # noqa: B023
        with pytest.raises(LKDNError, match=message) as error:
            lkdn_vapoursynth.plugin_path()
        assert "\n" not in str(error.value)


def test_version_models_and_devices(core: vs.Core) -> None:
    assert core.lkdn.Version()["version"] == lkdn_core.__version__
    assert core.lkdn.Version()["torch"] == version("torch")
    models = core.lkdn.Models()
    pairs = list(zip(models["model"], models["scale"], strict=True))
    assert pairs == [(m.name, m.scale) for m in lkdn_core.list_models()]
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    assert core.lkdn.Devices() == ["auto", "cpu", *cuda]


def test_clip_and_scale_are_positional(weights: str) -> None:
    larger = vs.core.lkdn.Upscale(noise(vs.RGB24), 2, weights=weights)
    assert larger.width == 2 * noise(vs.RGB24).width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 5}, "scale: 2, 3 or 4 is accepted, got 5"),
        ({"scale": 2**40}, f"scale: 2, 3 or 4 is accepted, got {2**40}"),
        ({"model": 'x\n"y\\'}, "model: one of "),
        ({"model": "official-lkdn-s"}, "scale: official-lkdn-s has 4, got 2"),
        ({"weights": "no-such-file"}, "weights: no such file: no-such-file"),
        ({"weights": "a\0b"}, "weights: no such file: a"),
        ({"weights": __file__}, f"weights: {__file__} is"),
        ({"batch": -1}, "batch: an integer from 0 is accepted, got -1"),
        ({"tile": -2}, "tile: an integer from 0 is accepted, got -2"),
        ({"overlap": -3}, "overlap: an integer from 0 is accepted, got -3"),
        ({"device": "tpu"}, "device: auto, cpu, cuda or cuda:N is accepted, got 'tpu'"),
        ({"device": "cuda:99"}, "device: cuda:99 is not here, torch sees "),
        ({"precision": "fp8"}, "precision: auto, "),
        ({"num_streams": 0}, "num_streams: an integer from 1 to 32 is accepted, got 0"),
        ({"matrix": 0}, "matrix: one of 1 (bt709), "),
        ({"backend": "cudnn"}, "backend: "),
        ({"tta": 3}, "tta: 1, 2, 4 or 8 is accepted, got 3"),
        ({"denoise": 1.5}, "denoise: a number from 0 to 1 is accepted, got 1.5"),
        ({"denoise": math.nan}, "denoise: a number from 0 to 1 is accepted, got nan"),
        ({"denoise": 0, "model": "official-lkdn"}, "denoise: is between lkdn-s and lkdn-s-video"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_error_is_one_line_that_names_the_argument(
    options: dict[str, float | str], message: str
) -> None:
    with pytest.raises(vs.Error) as error:
        vs.core.lkdn.Upscale(noise(vs.YUV420P8), **{"scale": 2} | options)
    assert str(error.value).startswith(f"Upscale: {message}")
    assert "\n" not in str(error.value)


def test_rgb_takes_no_matrix(weights: str) -> None:
    with pytest.raises(vs.Error, match=r"^Upscale: matrix: an RGB clip has none, got 1"):
        noise(vs.RGB24).lkdn.Upscale(scale=2, weights=weights, matrix=1)


def test_the_weights_must_fit_the_scale(weights: str) -> None:
    with pytest.raises(vs.Error, match=r"^Upscale: scale: .* is a x2 network, got 3"):
        noise(vs.RGB24).lkdn.Upscale(scale=3, weights=weights)
