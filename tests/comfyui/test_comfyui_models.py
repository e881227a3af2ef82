"""Networks by name and by file, and the object that other nodes use."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lkdn_comfyui.models import (
    EngineOptions,
    LKDNModel,
    UpscaleModel,
    engine_device,
    engine_for,
    model_from_file,
    named_models,
)
from lkdn_core.errors import WeightsError


def test_names_carry_their_scale() -> None:
    models = named_models()
    assert models["lkdn-s x2"] == LKDNModel(2, "lkdn-s")
    assert models["official-lkdn x4"].scale == 4


def test_a_replaced_file_is_another_model(tiny_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(tiny_file.read_bytes())
    before = model_from_file(file)
    assert before == model_from_file(file) and before.scale == 2
    file.touch()
    assert model_from_file(file) != before


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "esrgan.safetensors"
    file.write_bytes(b"not a network")
    with pytest.raises(WeightsError):
        model_from_file(file)


def test_engines_are_made_once(tiny: LKDNModel) -> None:
    options = EngineOptions(device="cpu")
    assert engine_for(tiny, options) is engine_for(tiny, EngineOptions(device="cpu"))
    assert engine_for(tiny, EngineOptions(device="cpu", overlap=0)).overlap == 0
    assert engine_for(tiny, options).overlap > 0
    rgb = torch.rand(1, 3, 6, 5)
    plain, mean = (engine_for(tiny, EngineOptions(device="cpu", tta=n)).up(rgb) for n in (1, 8))
    assert (plain - mean).abs().max() > 1e-6


def test_networks_between_two_are_others() -> None:
    options, rgb = EngineOptions(device="cpu"), torch.rand(1, 3, 6, 5)
    models = [LKDNModel(4), LKDNModel(4, denoise=0.5), LKDNModel(4, "lkdn-s-video")]
    sharp, middle, smooth = (engine_for(model, options).up(rgb) for model in models)
    assert not torch.equal(middle, sharp) and not torch.equal(middle, smooth)
    assert torch.equal(UpscaleModel(models[1])(rgb), middle)


def test_devices_the_engine_does_not_know_become_the_cpu() -> None:
    assert engine_device(torch.device("cuda", 1)) == "cuda:1"
    assert engine_device(torch.device("mps")) == "cpu"


def test_upscale_model_is_called_like_a_descriptor(tiny: LKDNModel) -> None:
    model = UpscaleModel(tiny)
    assert model.scale == 2
    assert sum(t.nbytes for t in model.model.state_dict().values()) > 0
    assert model.to("cpu") is model.to(torch.float32) is model.to("cpu", torch.float32) is model
    assert model.cpu() is model.eval() is model.float() is model
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.input_channels == model.output_channels == 3
    assert model.supports_half and model.supports_bfloat16
    pixels = torch.rand(2, 3, 6, 5)
    out = model(pixels)
    assert torch.equal(out, engine_for(tiny, EngineOptions(device="cpu")).up(pixels))
    with_alpha = torch.cat([pixels, torch.rand(2, 1, 6, 5)], 1)
    assert torch.equal(model(with_alpha), out)
    gray = model(pixels[:, :1].expand(-1, 3, -1, -1))
    assert torch.equal(model(pixels[:, :1]), gray) and torch.equal(model(pixels[:, :2]), gray)
    assert torch.equal(model(pixels.half()), model(pixels.half().float()))
    # Its weights, run in training form, are the same network.
    with torch.no_grad():
        torch.testing.assert_close(model.model(pixels), out, rtol=0, atol=1e-4)
    assert model.half().dtype == torch.float16 and torch.equal(model(pixels), out)


@pytest.mark.gpu
def test_upscale_model_takes_pixels_on_a_gpu(tiny: LKDNModel) -> None:
    pixels = torch.rand(2, 3, 6, 5)
    out = UpscaleModel(tiny).to("cuda")(pixels.cuda())
    assert out.device.type == "cuda"
    torch.testing.assert_close(out.cpu(), UpscaleModel(tiny)(pixels), rtol=0, atol=2e-2)  # fp16


def test_the_package_imports_without_comfyui_and_with_little_else() -> None:
    """ffmpeg-python is for filters of one's own, which no node has."""
    modules = "image, models, source, video, clip"
    code = (
        f"import lkdn_comfyui, sys; from lkdn_comfyui import {modules}\n"
        "names = {m.split('.')[0] for m in sys.modules}\n"
        "assert not names & {'comfy', 'comfy_api', 'ffmpeg', 'vapoursynth'}"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=120,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
