"""The nodes as ComfyUI sees them. They translate: sockets and widgets here, work elsewhere."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import comfy.model_management as management
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import ComfyExtension, Input, InputImpl, io

from lkdn_comfyui.image import ALPHA, upscale_images
from lkdn_comfyui.models import (
    EngineOptions,
    LKDNModel,
    UpscaleModel,
    engine_device,
    engine_for,
    model_from_file,
    named_models,
)
from lkdn_comfyui.source import VideoFile, source_file
from lkdn_comfyui.video import plan_video, upscale_to
from lkdn_comfyui.widgets import (
    AS_NAMED,
    ModelSocket,
    denoise_input,
    file_inputs,
    model_input,
    schema,
    tta_input,
    work_inputs,
)
from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError
from lkdn_core.models import DEFAULT_MODEL
from lkdn_media.probe import probe
from lkdn_media.sizes import SizeChoice
from lkdn_media.source import Source
from lkdn_media.suited_model import suited_model

__all__ = ["LKDNExtension", "LKDNModelLoader", "LKDNUpscaleImage", "LKDNUpscaleVideo"]

#: The loader's folder of ComfyUI.
FOLDER: Final = "upscale_models"


class LKDNModelLoader(io.ComfyNode):
    """Choose a network."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        choices = [*named_models(), *folder_paths.get_filename_list(FOLDER)]
        return schema(
            "LKDNModelLoader",
            "Load LKDN Model",
            "Chooses an LKDN network for the LKDN nodes, or for any node that takes an upscale "
            "model.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=choices,
                    default=f"{DEFAULT_MODEL} x4",  # as the nodes have it
                    tooltip="A network by name and scale, or an LKDN weights file in "
                    "models/upscale_models. lkdn-s and lkdn-s-video come with the nodes; "
                    "official ones are downloaded on first use and verified.",
                ),
                denoise_input(),
            ],
            outputs=[
                ModelSocket.Output(display_name="LKDN_MODEL", tooltip="For the LKDN nodes."),
                io.UpscaleModel.Output(
                    display_name="UPSCALE_MODEL", tooltip="For Upscale Image (using Model)."
                ),
            ],
            aliases=["load upscaler", "super resolution model"],
        )

    @classmethod
    def execute(cls, model: str, denoise: float = AS_NAMED) -> io.NodeOutput:
        """The network twice: for these nodes and for others."""
        chosen = _find(model)
        if denoise >= 0:
            chosen = replace(chosen, denoise=denoise)
        upscale_model = UpscaleModel(chosen)
        patcher = getattr(comfy.model_patcher, "CoreModelPatcher", None)
        if patcher is not None:
            upscale_model.patcher = patcher(
                upscale_model.model,
                load_device=management.get_torch_device(),
                offload_device=management.unet_offload_device(),
            )
        return io.NodeOutput(chosen, upscale_model)

    @classmethod
    def fingerprint_inputs(
        cls, model: str | None = None, denoise: float | None = None
    ) -> tuple[int, int] | None:
        """Changes when the file does. Without a name: another node gives it, in time."""
        return None if model is None else _find(model).stamp


class LKDNUpscaleImage(io.ComfyNode):
    """Enlarge pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return schema(
            "LKDNUpscaleImage",
            "Upscale Image (LKDN)",
            "Enlarges pictures 2, 3 or 4 times with an LKDN network.",
            inputs=[
                io.Image.Input("image", tooltip="RGB, RGBA or gray, any number of pictures."),
                *work_inputs(),
                io.Combo.Input(
                    "alpha",
                    options=list(ALPHA),
                    default=ALPHA[0],
                    tooltip="Transparency of RGBA pictures: enlarged by the network too, or left "
                    "out.",
                ),
                tta_input(),
                model_input(),
            ],
            outputs=[io.Image.Output(display_name="IMAGE")],
            aliases=["upscale", "enlarge image", "super resolution", "hires", "superres"],
        )

    @classmethod
    def execute(
        cls,
        *,
        image: torch.Tensor,
        scale: int,
        batch_size: int,
        tile: int,
        overlap: int,
        precision: str,
        alpha: str,
        tta: str = "1",
        model: LKDNModel | None = None,
    ) -> io.NodeOutput:
        """Batch by batch and tile by tile, with looks at the stop button before each and within."""
        options = _options(batch_size, tile, overlap, precision, tta)
        if not isinstance(image, torch.Tensor) or image.ndim != 4:
            raise ArgumentError(f"image: a link to pictures is accepted, got {_shown(image)}")
        bar = comfy.utils.ProgressBar(max(1, len(image)))

        def progress(share: float) -> None:
            management.throw_exception_if_processing_interrupted()
            bar.update_absolute(share * bar.total)

        network = _linked(model) or LKDNModel(scale)
        with _engine(network, options, *image.shape[1:3]) as upscaler:
            enlarged = upscale_images(
                image,
                upscaler,
                alpha=alpha,
                device=management.intermediate_device(),
                dtype=_intermediate_dtype(),
                progress=progress,
            )
        return io.NodeOutput(enlarged)


class LKDNUpscaleVideo(io.ComfyNode):
    """Enlarge a video, however long."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return schema(
            "LKDNUpscaleVideo",
            "Upscale Video (LKDN)",
            "Enlarges a video 2, 3 or 4 times with an LKDN network. Frames are read, enlarged and "
            "written a few at a time, so memory does not grow with the length. Sound is copied.",
            inputs=[
                io.Video.Input("video", tooltip="A video of any length."),
                *work_inputs(),
                tta_input(),
                *file_inputs(),
                model_input("lkdn-s, nearer to lkdn-s-video the coarser the video was compressed"),
            ],
            outputs=[io.Video.Output(display_name="VIDEO")],
            aliases=["upscale video", "enlarge video", "video super resolution"],
        )

    @classmethod
    def execute(
        cls,
        *,
        video: Any,
        scale: int,
        batch_size: int,
        tile: int,
        overlap: int,
        precision: str,
        tta: str = "1",
        codec: str = "auto",
        crf: int = -1,
        height: int = 0,
        model: LKDNModel | None = None,
    ) -> io.NodeOutput:
        """From the file behind ``video`` to one in ComfyUI's temp folder."""
        linked = _linked(model)
        options = _options(batch_size, tile, overlap, precision, tta)
        if not hasattr(video, "get_stream_source"):
            raise ArgumentError(f"video: a link to a video is accepted, got {_shown(video)}")
        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        # Without a stream of its own a video gives one that ComfyUI compresses first.
        own = type(video).get_stream_source is not Input.Video.get_stream_source
        made = isinstance(video, InputImpl.VideoFromComponents) or not own
        check = management.throw_exception_if_processing_interrupted
        with source_file(video, folder, made_of_frames=made, progress=check) as file:
            plan = plan_video(
                file.path,
                scale=linked.scale if linked else scale,
                choice=replace(
                    file.choice,
                    codec=file.choice.codec if codec == "auto" else codec,
                    crf=None if crf < 0 else crf,
                ),
                window=file.window,
                size=SizeChoice(height=height or None),
            )
            source = plan.source
            bar = comfy.utils.ProgressBar(max(1, source.frames))
            check()

            def progress() -> None:
                check()
                bar.update(1)

            target = folder / f"lkdn-{uuid.uuid4().hex}"
            network = linked or _suited(file, source, scale)
            with _engine(network, options, source.height, source.width) as upscaler:
                target = upscale_to(target, plan, upscaler, progress=progress, check=check)
            bar.update_absolute(bar.total)  # where frames were fewer than their rate says
        return io.NodeOutput(InputImpl.VideoFromFile(str(target)))


class LKDNExtension(ComfyExtension):
    """The pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return [LKDNModelLoader, LKDNUpscaleImage, LKDNUpscaleVideo]


def _suited(file: VideoFile, source: Source, scale: int) -> LKDNModel:
    """The network for ``file``, probed as ``source``, where none is linked."""
    if file.origin is None:
        return LKDNModel(scale)
    network = suited_model(source if file.origin == file.path else probe(file.origin))
    return LKDNModel(scale, network.model, denoise=network.denoise)


def _find(label: object) -> LKDNModel:
    named = named_models()
    if not isinstance(label, str):  # which programs may send
        raise ArgumentError(f"model: a name is accepted, got {_shown(label)}")
    if label in named:
        return named[label]
    return model_from_file(Path(folder_paths.get_full_path_or_raise(FOLDER, label)))


def _linked(model: object) -> LKDNModel | None:
    """The network that is linked. Programs may send anything in the place of a link."""
    if model is not None and not isinstance(model, LKDNModel):
        raise ArgumentError(f"model: a link to Load LKDN Model is accepted, got {_shown(model)}")
    return model


def _shown(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else f"{value!r:.80}"


def _options(batch_size: int, tile: int, overlap: int, precision: str, tta: str) -> EngineOptions:
    return EngineOptions(
        device=engine_device(management.get_torch_device()),
        precision=precision,
        batch_size=batch_size,
        tile=tile,
        overlap=overlap,
        tta=int(tta),
    )


@contextmanager
def _engine(
    model: LKDNModel, options: EngineOptions, height: int, width: int
) -> Iterator[Upscaler]:
    """The engine, with room made on the GPU for one run over pictures of this size.

    At the end its memory there is ComfyUI's again.
    """
    upscaler = engine_for(model, options)
    if upscaler.device.type == "cuda" and height and width:
        count = upscaler.frames_per_run(height, width)
        management.free_memory(count * upscaler.bytes_for(height, width), upscaler.device)
        upscaler.renew()
    try:
        yield upscaler
    finally:
        upscaler.release()
        management.soft_empty_cache()


def _intermediate_dtype() -> torch.dtype:
    known = getattr(management, "intermediate_dtype", None)  # not in older versions
    return known() if known is not None else torch.float32
