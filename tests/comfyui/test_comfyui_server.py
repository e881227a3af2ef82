"""The nodes in a real ComfyUI (``COMFYUI_PATH``; its Python in ``COMFYUI_PYTHON``)."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import lkdn_comfyui
from lkdn_comfyui.image import upscale_images
from lkdn_comfyui.models import EngineOptions, LKDNModel, engine_for
from lkdn_comfyui.video import Window, plan_video, upscale_to
from lkdn_core import Upscaler
from lkdn_core.native_library import library_file
from lkdn_media.encoders import EncoderChoice
from tests.cli.clips import Clip, make_clip
from tests.cli.media import copies, frames, planes, times
from tests.comfyui.comfyui_server import Refused, Run, Server, to_prompt

pytestmark = pytest.mark.comfyui

HERE, PACKAGE = Path(__file__).parent, Path(lkdn_comfyui.__file__).parent
NTSC = Fraction(1001, 30000)
WORK = {"scale": 2, "batch_size": 0, "tile": 0, "overlap": -1, "precision": "auto"}
TINY = {"class_type": "LKDNModelLoader", "inputs": {"model": "tiny-x2.safetensors"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_file: Path) -> Iterator[Server]:
    """ComfyUI with the pack installed by the command, and small files to work on."""
    from lkdn_cli.comfyui import main

    if "COMFYUI_PATH" not in os.environ:
        pytest.skip("COMFYUI_PATH does not name a ComfyUI checkout")
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("custom_nodes", "input", "output", "models/upscale_models"):
        (base / name).mkdir(parents=True)
    assert main(["install", "--comfyui", str(base)]) == 0
    shutil.copy(HERE / "tensor_nodes.py", base / "custom_nodes")
    weights = base / "models" / "upscale_models"
    shutil.copy(tiny_file, weights / "tiny-x2.safetensors")
    (weights / "other.safetensors").write_bytes(b"not a network")
    pixels = np.random.default_rng(9).integers(0, 256, (14, 18, 3), np.uint8)
    Image.fromarray(pixels).save(base / "input" / "example.png")
    make_clip(
        base / "input" / "flower.mp4",
        Clip(pts=range(24), time_base=NTSC, audio=[{"language": "eng"}]),
    )
    (base / "input" / "broken.mp4").write_bytes(b"not a video" * 100)
    server = Server(Path(os.environ["COMFYUI_PATH"]), base)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture
def tiny_engine(tiny: LKDNModel) -> Upscaler:
    """The engine that the server's nodes make of the tiny file."""
    return engine_for(tiny, EngineOptions(device="cpu"))


def example(server: Server, name: str) -> Any:
    """One of the pack's workflows, as a prompt."""
    text = server.get(f"/api/workflow_templates/lkdn/{name}.json")
    return to_prompt(json.loads(text), server.get_json("/object_info"))


def store(server: Server, images: Tensor) -> str:
    """Name of a new file for TestLoadTensor; new, since ComfyUI keeps what it knows by name."""
    name = f"{uuid.uuid4().hex}.pt"
    torch.save(images, server.base / "input" / name)
    return name


def upscale_tensor(server: Server, images: Tensor, **inputs: Any) -> tuple[Run, Tensor]:
    """``images`` through LKDNUpscaleImage with the tiny network, bits and all."""
    file = store(server, images)
    settings = WORK | {"alpha": "upscale"} | inputs
    prompt = {
        "1": TINY,
        "2": {"class_type": "TestLoadTensor", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleImage",
            "inputs": {"image": ["2", 0], "model": ["1", 0], **settings},
        },
        "4": {"class_type": "TestSaveTensor", "inputs": {"image": ["3", 0], "file": file}},
    }
    run = server.run(prompt)
    return run, torch.load(server.base / "output" / file)


def video_prompt(file: str, *, model: Any = TINY, **inputs: Any) -> Any:
    """Load, enlarge, save."""
    return {
        "1": model,
        "2": {"class_type": "LoadVideo", "inputs": {"file": file}},
        "3": {
            "class_type": "LKDNUpscaleVideo",
            "inputs": {"video": ["2", 0], "model": ["1", 0], **WORK, **inputs},
        },
        "4": {
            "class_type": "SaveVideo",
            "inputs": {
                "video": ["3", 0],
                "filename_prefix": "test",
                "format": "auto",
                "format.codec": "auto",
                "codec": "auto",  # of versions before format.codec
            },
        },
    }


def saved(server: Server, run: Run, node: str = "4") -> Path:
    """The file that an output node wrote."""
    assert run.error is None, run.error
    (entry,) = run.outputs[node]["images"]
    return server.base / "output" / entry["subfolder"] / entry["filename"]


def leftovers(server: Server) -> list[str]:
    """Our files in ComfyUI's temp folder."""
    return sorted(p.name for p in (server.base / "temp").glob("lkdn*"))


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values from -0.2 to 1.2 of shape (B, H, W, C)."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(10))
    return (x * 1.4 - 0.2).to(dtype)


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


def test_example_video_workflow(server: Server, tmp_path: Path) -> None:
    run = server.run(example(server, "upscale-video"))
    got, source = saved(server, run), server.base / "input" / "flower.mp4"
    plan = plan_video(source, tmp_path / "x", scale=2, choice=EncoderChoice())
    upscaler = Upscaler(scale=2, device="cpu")
    ours = upscale_to(tmp_path, plan, upscaler, name="x", window=Window(), progress=lambda: None)
    same_pictures(got, ours)
    assert times(got) == [i * NTSC for i in range(24)]
    assert [c.packets for c in copies(got)] == [c.packets for c in copies(source)]
    assert run.progress[-1] == ("3", 24, 24)


def same_pictures(one: Path, other: Path) -> None:
    """Every sample equal."""
    for a, b in zip(frames(one), frames(other), strict=True):
        for x, y in zip(planes(a), planes(b), strict=True):
            assert np.array_equal(x, y)


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
    _, whole = upscale_tensor(server, images)
    _, tiled = upscale_tensor(server, images, tile=16, batch_size=2, alpha="drop")
    assert tiled.shape[-1] == 3
    torch.testing.assert_close(tiled, whole[..., :3], rtol=0, atol=2e-6)
    _, seams = upscale_tensor(server, images, tile=16, overlap=0, alpha="drop")
    assert (seams - tiled).abs().max() > 1e-4


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


def test_a_trimmed_video(server: Server, tmp_path: Path, tiny_engine: Upscaler) -> None:
    prompt = video_prompt("flower.mp4")
    if "Video Slice" not in server.get_json("/object_info"):
        pytest.skip("this ComfyUI can't trim videos")
    prompt["5"] = {
        "class_type": "Video Slice",
        "inputs": {
            "video": ["2", 0],
            "start_time": 0.1,
            "duration": 0.15,
            "strict_duration": False,
        },
    }
    prompt["3"]["inputs"]["video"] = ["5", 0]
    got = saved(server, server.run(prompt))
    source = server.base / "input" / "flower.mp4"
    plan = plan_video(source, tmp_path / "x", scale=2, choice=EncoderChoice())
    window = Window(0.1, 0.15)
    ours = upscale_to(tmp_path, plan, tiny_engine, name="x", window=window, progress=lambda: None)
    same_pictures(got, ours)
    assert times(got) == [i * NTSC for i in range(5)]
    assert copies(got)[0].kind == "audio"


def test_a_cropped_video(server: Server) -> None:
    prompt = video_prompt("flower.mp4")
    prompt["5"] = {"class_type": "TestCropVideo", "inputs": {"video": ["2", 0]}}
    prompt["3"]["inputs"]["video"] = ["5", 0]
    got = frames(saved(server, server.run(prompt)))
    assert len(got) == 24 and (got[0].width, got[0].height) == (32, 24)


def test_a_video_made_in_the_graph(server: Server) -> None:
    file = store(server, torch.rand(6, 16, 20, 3))
    prompt = video_prompt("flower.mp4")
    prompt["2"] = {"class_type": "TestLoadTensor", "inputs": {"file": file}}
    prompt["5"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 24.0}}
    prompt["3"]["inputs"]["video"] = ["5", 0]
    got = saved(server, server.run(prompt))
    assert times(got) == [Fraction(i, 24) for i in range(6)]
    first = frames(got)[0]
    assert (first.width, first.height, first.format.name) == (40, 32, "yuv420p")


def test_interrupt_of_a_video_leaves_no_file(server: Server) -> None:
    long = Clip(size=(160, 96), pts=range(600), options={"preset": "ultrafast"})
    make_clip(server.base / "input" / "long.mp4", long)
    before = leftovers(server)
    run = server.run(video_prompt("long.mp4"), interrupt_at=2)
    assert run.interrupted
    assert run.progress[-1][1] < 300
    assert leftovers(server) == before


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


@pytest.mark.slow
def test_memory_does_not_grow_with_a_video(server: Server) -> None:
    """300 frames of 640x360 by lkdn-s x4: less than 400 MB over the idle server.

    As one IMAGE they would be 13 GB.
    """
    if library_file() is None:
        pytest.skip("without the compiled kernels the network's maps take 800 MB")
    clip = Clip(size=(640, 360), pts=range(300), options={"preset": "ultrafast"})
    make_clip(server.base / "input" / "300.mp4", clip)
    four = {"class_type": "LKDNModelLoader", "inputs": {"model": "lkdn-s x4"}}
    idle = server.memory("VmRSS")
    server.forget_peak()
    got = saved(server, server.run(video_prompt("300.mp4", model=four, scale=4)))
    peak = (server.memory("VmHWM") - idle) / 1e6
    print(f"{peak:.0f} MB over the idle server")
    with av.open(str(got)) as container:
        video = container.streams.video[0]
        assert (video.width, video.frames) == (2560, 300)
    assert peak < 400
