"""Nodes for the tests of a real server: tensors from files and back, and what other packs do."""

from pathlib import Path

import av
import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import Input, InputImpl

from lkdn_core import Upscaler


def write_clip(path, parts, crf):
    """As newer versions of ComfyUI do: H.264 in 4:2:0 of that quality."""
    with av.open(str(path), "w") as out:
        options = {} if crf is None else {"crf": str(crf)}
        stream = out.add_stream("libx264", rate=parts.frame_rate, options=options)
        stream.height, stream.width = parts.images.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in parts.images:
            array = (image * 255).clamp(0, 255).byte().numpy()
            out.mux(stream.encode(av.VideoFrame.from_ndarray(array, "rgb24")))
        out.mux(stream.encode(None))


class TestLoadTensor:
    """A tensor from the input folder, as the file has it."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "load"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"file": ("STRING", {})}}

    def load(self, file):
        return (torch.load(Path(folder_paths.get_input_directory()) / file),)


class TestSaveTensor:
    """A tensor into the output folder."""

    RETURN_TYPES = ()
    FUNCTION = "save"
    CATEGORY = "testing"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "file": ("STRING", {})}}

    def save(self, image, file):
        torch.save(image.clone(), Path(folder_paths.get_output_directory()) / file)
        return {}


class Cropped(InputImpl.VideoFromFile):
    """The top left corner, as newer versions of ComfyUI crop: in what is saved, not in the file."""

    def get_dimensions(self):
        return 16, 12

    def get_components(self):
        parts = super().get_components()
        parts.images = parts.images[:, :12, :16]
        return parts

    def save_to(self, path, crf=None):
        write_clip(Path(path), self.get_components(), crf)


class TestCropVideo:
    """A cropped video."""

    RETURN_TYPES = ("VIDEO",)
    FUNCTION = "crop"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"video": ("VIDEO",)}}

    def crop(self, video):
        return (Cropped(video.get_stream_source()),)


class OwnVideo(Input.Video):
    """A class of another pack: frames, and no file."""

    def __init__(self, video):
        self._video = video

    def get_components(self):
        return self._video.get_components()

    def save_to(self, path, **options):
        self._video.save_to(path, **options)

    def as_trimmed(self, *window, **options):
        """Newer versions want one."""
        return self._video.as_trimmed(*window, **options)


class TestOwnVideo:
    """A video of another pack's own class."""

    RETURN_TYPES = ("VIDEO",)
    FUNCTION = "make"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"video": ("VIDEO",)}}

    def make(self, video):
        return (OwnVideo(video),)


class TestUpscaleByHand:
    """An upscale model used as many packs do, and ComfyUI did before it had ``patcher``."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "upscale_model": ("UPSCALE_MODEL",)}}

    def upscale(self, image, upscale_model):
        device = comfy.model_management.get_torch_device()
        upscale_model.to(device)
        pixels = image.movedim(-1, -3).to(device)
        out = comfy.utils.tiled_scale(
            pixels, upscale_model, 8, 8, overlap=4, upscale_amount=upscale_model.scale
        )
        upscale_model.to("cpu")
        return (out.clamp(0, 1).movedim(-3, -1),)


class TestModelName:
    """The name of a model out of a node, as those of other packs give it that go through a list."""

    RETURN_TYPES = ("COMBO",)
    FUNCTION = "name"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("STRING", {})}}

    def name(self, model):
        return (model,)


class TestScarceMemory:
    """From here on there is room for so many pictures at once, in this server."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "limit"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "pictures": ("INT", {"default": 1})}}

    def limit(self, image, pictures):
        def up(engine, rgb, **options):
            if len(rgb) > pictures:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory, on purpose")
            return ENLARGE(engine, rgb, **options)

        Upscaler.up = up
        return (image,)


ENLARGE = Upscaler.up
NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (
        TestCropVideo,
        TestLoadTensor,
        TestModelName,
        TestOwnVideo,
        TestSaveTensor,
        TestScarceMemory,
        TestUpscaleByHand,
    )
}
