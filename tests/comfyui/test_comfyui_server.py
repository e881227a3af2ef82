"""The nodes in a real ComfyUI (``COMFYUI_PATH``; its Python in ``COMFYUI_PYTHON``)."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import lkdn_comfyui
from lkdn_comfyui.image import upscale_images
from lkdn_core import Upscaler
from tests.comfyui.comfyui_server import Refused, Server
from tests.comfyui.server_jobs import (
    TINY,
    WORK,
    example,
    leftovers,
    pictures,
    saved,
    store,
    upscale_tensor,
    video_prompt,
)

pytestmark = pytest.mark.comfyui

PACKAGE = Path(lkdn_comfyui.__file__).parent


def test_nodes_are_described(
    server: Server, weights: Sequence[str] = ("tiny-x2.safetensors",)
) -> None:
    info = server.get_json("/object_info")
    texts = json.loads((PACKAGE / "locales" / "en" / "nodeDefs.json").read_text())
    for name, text in texts.items():
        node = info[name]
        inputs = node["input"].get("required", {}) | node["input"].get("optional", {})
        assert node["category"] == "LKDN"
        assert (node["display_name"], node["description"]) == (
            text["display_name"],
            text["description"],
        )
        tooltips = {
            key: {"name": key, "tooltip": spec[1]["tooltip"]} for key, spec in inputs.items()
        }
        assert tooltips == text["inputs"]
        assert node["output_name"] == [output["name"] for output in text["outputs"].values()]
        if "search_aliases" in node:
            assert node["search_aliases"]
    options = json.dumps(info["LKDNModelLoader"]["input"]["required"]["model"])
    assert all(name in options for name in ("lkdn-s x2", *weights))


def test_pages_templates_and_translations_are_served(server: Server) -> None:
    for name in ("LKDNModelLoader", "LKDNUpscaleImage", "LKDNUpscaleVideo"):
        for language in ("en", "zh"):
            page = server.get(f"/extensions/lkdn/docs/{name}/{language}.md")
            assert page == (PACKAGE / "web" / "docs" / name / f"{language}.md").read_bytes()
    templates = server.get_json("/workflow_templates")["lkdn"]
    assert sorted(templates) == ["upscale-image", "upscale-video"]
    translations = server.get_json("/i18n")
    for language in ("en", "zh"):
        assert "LKDNUpscaleVideo" in translations[language]["nodeDefs"]


def test_example_image_workflow(server: Server) -> None:
    run = server.run(example(server, "upscale-image"))
    with Image.open(saved(server, run)) as file:
        got = np.asarray(file.convert("RGB")).astype(int)
    with Image.open(server.base / "input" / "example.png") as file:
        source = torch.from_numpy(np.array(file)).movedim(-1, 0)[None] / 255
    wanted = Upscaler(scale=2, device="cpu").up(source)[0].clamp(0, 1).movedim(0, -1) * 255
    assert np.abs(got - wanted.numpy()).max() <= 1  # ComfyUI cuts decimals off
    assert ("3", 1, 1) in run.progress


@pytest.mark.parametrize(
    "images",
    [
        pictures(0, 5, 7, 3),
        pictures(1, 5, 7, 3),
        pictures(200, 3, 4, 3),
        pictures(3, 5, 7, 3, dtype=torch.float16),
        pictures(2, 5, 7, 4),
        pictures(2, 5, 7, 1),
        pictures(2, 3, 7, 5).movedim(1, -1),
    ],
    ids=["none", "one", "200", "half", "rgba", "gray", "strided"],
)
def test_every_image_equals_the_core(server: Server, images: Tensor, tiny_engine: Upscaler) -> None:
    run, got = upscale_tensor(server, images)
    assert run.error is None
    wanted = upscale_images(
        images,
        tiny_engine,
        alpha="upscale",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda done: None,
    )
    assert got.dtype == torch.float32 and torch.equal(got, wanted)


def test_options_reach_the_engine(server: Server, tiny_engine: Upscaler) -> None:
    images = pictures(2, 40, 30, 4)
    images[..., 3].clamp_(min=0.1)  # all colours are seen
    _, whole = upscale_tensor(server, images)
    _, tiled = upscale_tensor(server, images, tile=16, batch_size=2, alpha="drop")
    assert tiled.shape[-1] == 3
    torch.testing.assert_close(tiled, whole[..., :3], rtol=0, atol=2e-6)
    _, seams = upscale_tensor(server, images, tile=16, overlap=0, alpha="drop")
    assert (seams - tiled).abs().max() > 1e-4
    _, mean = upscale_tensor(server, images, alpha="drop", tta="8")
    assert (mean - tiled).abs().max() > 1e-4
    _, mirrored = upscale_tensor(server, images.flip(2), alpha="drop", tta="8")
    torch.testing.assert_close(mirrored.flip(2), mean, rtol=0, atol=2e-6)


def test_strength_of_smoothing_is_the_loaders(server: Server) -> None:
    images = pictures(1, 9, 12, 3).clamp(0, 1)

    def enlarged(name: str, **inputs: float) -> Tensor:
        model = {"model": f"{name} x4", **inputs}
        loader = {"class_type": "LKDNModelLoader", "inputs": model}
        return upscale_tensor(server, images, loader=loader)[1]

    sharp, smooth = enlarged("lkdn-s"), enlarged("lkdn-s-video", denoise=-1)
    assert torch.equal(enlarged("lkdn-s", denoise=1), smooth)
    assert torch.equal(enlarged("lkdn-s", denoise=-0.05), sharp)
    between = enlarged("lkdn-s-video", denoise=0.4)
    engine = Upscaler(scale=4, device="cpu", denoise=0.4)
    wanted = engine.up(images.movedim(-1, 1)).movedim(1, -1).clamp(0, 1)
    torch.testing.assert_close(between, wanted, rtol=0, atol=1e-6)
    assert not torch.equal(between, sharp)
    wrong = TINY | {"inputs": TINY["inputs"] | {"denoise": 0.4}}
    run = server.run(video_prompt("flower.mp4", model=wrong))
    assert "denoise: is between" in run.error["exception_message"]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("node", ["ImageUpscaleWithModel", "TestUpscaleByHand"])
def test_the_model_works_in_nodes_for_upscale_models(
    server: Server, tiny_engine: Upscaler, node: str, channels: int
) -> None:
    """ComfyUI's own, which Ultimate SD Upscale calls too, and how it was done before."""
    images = pictures(2, 9, 12, channels).clamp(0, 1)
    file = store(server, images)
    prompt = {
        "1": TINY,
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {"class_type": node, "inputs": {"image": ["2", 0], "upscale_model": ["1", 1]}},
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    run = server.run(prompt)
    assert run.error is None, run.error
    wanted = upscale_images(
        (images if channels > 1 else images.expand(-1, -1, -1, 3))[..., :3],
        tiny_engine,
        alpha="drop",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda done: None,
    )
    got = torch.load(server.base / "output" / file)
    if node == "ImageUpscaleWithModel":
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)
    else:  # tiles of 8 pixels, which show
        assert got.shape == wanted.shape and (got - wanted).abs().mean() < 0.05


def test_what_did_not_change_is_not_done_again(server: Server) -> None:
    """Also where another node gives the model's name."""
    file = store(server, pictures(2, 8, 6, 3))
    name = {"class_type": "TestModelName", "inputs": TINY["inputs"]}
    prompt = {
        "0": name,
        "1": TINY | {"inputs": {"model": ["0", 0]}},
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleImage",
            "inputs": {"image": ["2", 0], "model": ["1", 0], **WORK, "alpha": "drop"},
        },
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    assert server.run(prompt).progress
    again = server.run(prompt)
    assert again.error is None and not again.progress


def test_interrupt_of_images(server: Server) -> None:
    file = store(server, pictures(1000, 32, 32, 3))
    prompt = {
        "1": TINY,
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleImage",
            "inputs": {"image": ["2", 0], "model": ["1", 0], **WORK, "alpha": "drop"},
        },
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    run = server.run(prompt, interrupt_at=2)
    assert run.interrupted and run.progress[-1][1] < 900
    assert not (server.base / "output" / file).exists()


def test_bad_input_is_the_error_of_its_node(server: Server) -> None:
    with pytest.raises(Refused) as refused:
        server.run(video_prompt("flower.mp4", scale=5))
    assert "scale" in json.dumps(refused.value.answer["node_errors"]["3"])
    other = {"class_type": "LKDNModelLoader", "inputs": {"model": "other.safetensors"}}
    run = server.run(video_prompt("flower.mp4", model=other))
    assert run.error["node_id"] == "1" and "weights: " in run.error["exception_message"]
    before = leftovers(server)
    run = server.run(video_prompt("broken.mp4"))
    assert run.error["node_id"] == "3" and "not a media file" in run.error["exception_message"]
    assert leftovers(server) == before
    file = store(server, torch.zeros(1, 4, 4, 5))
    prompt = {
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleImage",
            "inputs": {"image": ["2", 0], **WORK, "alpha": "drop"},
        },
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    run = server.run(prompt)
    assert run.error["node_id"] == "3" and "image: " in run.error["exception_message"]
    # What programs may send in the place of a link.
    prompt["3"]["inputs"]["image"] = None
    run = server.run(prompt)
    assert "image: a link to pictures is accepted, got None" in run.error["exception_message"]
    prompt = video_prompt("flower.mp4")
    prompt["3"]["inputs"]["video"] = None
    run = server.run(prompt)
    assert "video: a link to a video is accepted, got None" in run.error["exception_message"]


def test_no_room_for_a_batch_halves_it(server: Server) -> None:
    images = pictures(8, 12, 10, 3)
    _, plenty = upscale_tensor(server, images, batch_size=8)
    file = store(server, images)
    limit = {"class_type": "TestScarceMemory", "inputs": {"image": ["2", 0]}}
    prompt = {
        "1": TINY,
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleImage",
            "inputs": {
                "image": ["5", 0],
                "model": ["1", 0],
                **WORK,
                "alpha": "drop",
                "batch_size": 8,
            },
        },
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    try:
        run = server.run(prompt | {"5": limit | {"inputs": {"image": ["2", 0], "pictures": 2}}})
    finally:
        end = {"class_type": "TestSaveTensor", "inputs": {"image": ["5", 0], "file": "end.pt"}}
        room = limit | {"inputs": {"image": ["2", 0], "pictures": 10**6}}
        server.run({"2": prompt["2"], "5": room, "4": end})
    assert run.error is None, run.error
    # Batches of another size may round differently in the last place.
    got = torch.load(server.base / "output" / file)
    torch.testing.assert_close(got, plenty, rtol=0, atol=2e-6)
    assert [value for _, value, _ in run.progress][-1] == 8
    assert "out of memory: going on" in server.log.read_text()


@pytest.mark.posix
def test_a_link_to_the_folder_is_a_pack(tmp_path: Path) -> None:
    """Without the suite on ComfyUI's path: the folder finds its checkout."""
    if "COMFYUI_PATH" not in os.environ:
        pytest.skip("COMFYUI_PATH does not name a ComfyUI checkout")
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "lkdn").symlink_to(PACKAGE.parent)
    server = Server(Path(os.environ["COMFYUI_PATH"]), tmp_path, packages=())
    try:
        server.wait_until_up()
        test_nodes_are_described(server, weights=())
        test_pages_templates_and_translations_are_served(server)
    finally:
        server.stop()


def test_comfyui_reads_what_the_registry_gets(server: Server) -> None:
    code = (
        "import json; from comfy_config.config_parser import extract_node_configuration as read\n"
        f"print(read({str(PACKAGE.parent)!r}).model_dump_json())"
    )
    run = subprocess.run(
        [os.environ.get("COMFYUI_PYTHON", sys.executable), "-c", code],
        cwd=os.environ["COMFYUI_PATH"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    about = json.loads(run.stdout)
    project = about["project"]
    assert (project["name"], project["license"]["text"]) == ("lkdn", "MIT")
    assert project["supported_os"] and project["supported_accelerators"]
    assert project["supported_comfyui_version"] == ">=0.3.48"
    assert about["tool_comfy"]["display_name"] == "LKDN"
