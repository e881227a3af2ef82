"""Nodes for the tests of a real server: tensors from files and back, a video that was cropped."""

from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import InputImpl


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

    def save_to(self, path, **options):
        parts = self.get_components()
        parts.images = parts.images[:, :12, :16]
        InputImpl.VideoFromComponents(parts).save_to(path, **options)


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


NODE_CLASS_MAPPINGS = {
    "TestCropVideo": TestCropVideo,
    "TestLoadTensor": TestLoadTensor,
    "TestSaveTensor": TestSaveTensor,
}
