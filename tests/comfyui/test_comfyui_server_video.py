"""Videos in a real ComfyUI: times, sound, parts, interrupts, memory."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from lkdn_comfyui.video import Window, plan_video, upscale_to
from lkdn_core import Upscaler
from lkdn_core.native_library import library_file
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.suited_model import suited_model
from tests.cli.clips import Clip, make_clip
from tests.cli.media import copies, frames, planes, times
from tests.comfyui.comfyui_server import Server
from tests.comfyui.server_jobs import (
    NTSC,
    example,
    leftovers,
    saved,
    store,
    video_prompt,
)

pytestmark = pytest.mark.comfyui


def test_example_video_workflow(server: Server, tmp_path: Path) -> None:
    run = server.run(example(server, "upscale-video"))
    got, source = saved(server, run), server.base / "input" / "flower.mp4"
    plan = plan_video(source, scale=2, choice=EncoderChoice(), window=Window())
    network = suited_model(plan.source)
    upscaler = Upscaler(scale=2, model=network.model, denoise=network.denoise, device="cpu")
    ours = upscale_to(tmp_path / "x", plan, upscaler, progress=lambda: None)
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
    ("codec", "options", "denoise"),
    [("libx264", {"crf": "34"}, 1.0), ("libx264", {"crf": "5"}, 0.5), ("ffv1", {}, None)],
)
def test_the_network_where_none_is_linked(
    server: Server, tmp_path: Path, codec: str, options: dict[str, str], denoise: float | None
) -> None:
    clip = Clip(codec=codec, options=options, pts=range(2), size=(160, 90))
    source = make_clip(server.base / "input" / f"{codec}-{denoise}.mkv", clip)
    prompt = video_prompt(source.name)
    prompt["3"]["inputs"].pop("model", None)
    prompt["3"]["inputs"]["scale"] = 2
    got = saved(server, server.run(prompt))
    plan = plan_video(source, scale=2, choice=EncoderChoice(), window=Window())
    upscaler = Upscaler(scale=2, denoise=denoise, device="cpu")
    same_pictures(got, upscale_to(tmp_path / "x", plan, upscaler, progress=lambda: None))


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
    plan = plan_video(source, scale=2, choice=EncoderChoice(), window=Window(0.1, 0.15))
    ours = upscale_to(tmp_path / "x", plan, tiny_engine, progress=lambda: None)
    same_pictures(got, ours)
    assert times(got) == [i * NTSC for i in range(5)]
    assert copies(got)[0].kind == "audio"


def test_codec_quality_and_height_of_choice(server: Server) -> None:
    prompt = video_prompt("flower.mp4", codec="hevc", crf=40, height=100)
    got = saved(server, server.run(prompt))
    with av.open(str(got)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == "hevc" and stream.height == 100
    fine = saved(server, server.run(video_prompt("flower.mp4", codec="hevc", crf=10, height=100)))
    assert got.stat().st_size < fine.stat().st_size


def test_a_cropped_video(server: Server) -> None:
    prompt = video_prompt("flower.mp4")
    prompt["5"] = {"class_type": "TestCropVideo", "inputs": {"video": ["2", 0]}}
    prompt["3"]["inputs"]["video"] = ["5", 0]
    got = frames(saved(server, server.run(prompt)))
    assert len(got) == 24 and (got[0].width, got[0].height) == (32, 24)


def test_a_video_made_in_the_graph(server: Server) -> None:
    file = store(server, torch.rand(6, 16, 20, 3))
    prompt = video_prompt("flower.mp4", crf=0)  # lossy ones differ from run to run
    prompt["2"] = {"class_type": "TestLoadTensor", "inputs": {"file": file}}
    prompt["5"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 24.0}}
    prompt["3"]["inputs"]["video"] = ["5", 0]
    got = saved(server, server.run(prompt))
    assert times(got) == [Fraction(i, 24) for i in range(6)]
    first = frames(got)[0]
    assert (first.width, first.height, first.format.name) == (40, 32, "yuv420p")
    # The same by a class of another pack, which ComfyUI would compress first.
    prompt["6"] = {"class_type": "TestOwnVideo", "inputs": {"video": ["5", 0]}}
    prompt["3"]["inputs"]["video"] = ["6", 0]
    again = saved(server, server.run(prompt))
    for one, other in zip(frames(got), frames(again), strict=True):
        assert np.array_equal(one.to_ndarray(), other.to_ndarray())


def test_no_frames_are_the_error_of_the_node(server: Server) -> None:
    before = leftovers(server)
    prompt = video_prompt("flower.mp4")
    prompt["2"] = {
        "class_type": "TestLoadTensor",
        "inputs": {"file": store(server, torch.rand(0, 16, 20, 3))},
    }
    prompt["5"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 24.0}}
    prompt["3"]["inputs"]["video"] = ["5", 0]
    run = server.run(prompt)
    assert run.error["node_id"] == "3" and "got (0, 16, 20, 3)" in run.error["exception_message"]
    assert leftovers(server) == before


def test_a_video_in_matroska_is_saved_whole(server: Server) -> None:
    """What ComfyUI saves without encoding it again: sound that MP4 can't hold."""
    if '"mkv"' not in json.dumps(server.get_json("/object_info")["SaveVideo"]):
        pytest.skip("this ComfyUI can't save Matroska")
    make_clip(
        server.base / "input" / "sound.mkv", Clip(pts=range(12), audio=[{}], audio_codec="wavpack")
    )
    prompt = video_prompt("sound.mkv")
    prompt["4"]["inputs"]["format"] = "mkv"
    got = saved(server, server.run(prompt))
    assert len(frames(got)) == 12 and copies(got)[0].kind == "audio"


def test_interrupt_of_a_video_leaves_no_file(server: Server) -> None:
    long = Clip(size=(160, 96), pts=range(600), options={"preset": "ultrafast"})
    make_clip(server.base / "input" / "long.mp4", long)
    before = leftovers(server)
    run = server.run(video_prompt("long.mp4"), interrupt_at=2)
    assert run.interrupted
    assert run.progress[-1][1] < 300
    assert leftovers(server) == before


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
