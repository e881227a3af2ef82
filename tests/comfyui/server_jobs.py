"""What the tests ask of a ComfyUI server: prompts, tensors in and out, files it leaves."""

import json
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.comfyui.comfyui_server import Run, Server, to_prompt

__all__ = [
    "NTSC",
    "TINY",
    "WORK",
    "example",
    "leftovers",
    "pictures",
    "saved",
    "store",
    "upscale_tensor",
    "video_prompt",
]

NTSC = Fraction(1001, 30000)
WORK = {"scale": 2, "batch_size": 0, "tile": 0, "overlap": -1, "precision": "auto"}
TINY = {"class_type": "LKDNModelLoader", "inputs": {"model": "tiny-x2.safetensors"}}


def example(server: Server, name: str) -> Any:
    """One of the pack's workflows, as a prompt."""
    text = server.get(f"/api/workflow_templates/lkdn/{name}.json")
    return to_prompt(json.loads(text), server.get_json("/object_info"))


def store(server: Server, images: Tensor) -> str:
    """Name of a new file for TestLoadTensor; new, since ComfyUI keeps what it knows by name."""
    name = f"{uuid.uuid4().hex}.pt"
    torch.save(images, server.base / "input" / name)
    return name


def upscale_tensor(
    server: Server, images: Tensor, *, loader: Any = TINY, **inputs: Any
) -> tuple[Run, Tensor]:
    """``images`` through LKDNUpscaleImage with the network of ``loader``, bits and all."""
    file = store(server, images)
    settings = WORK | {"alpha": "upscale"} | inputs
    prompt = {
        "1": loader,
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
