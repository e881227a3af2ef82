"""Pictures to measure networks on: high-resolution ones, or pairs."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.quantize import quantize
from lkdn_core.resize import resize

__all__ = ["read_pairs"]

_KINDS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def read_pairs(folder: Path, scale: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """``(name, small, large)`` of every picture in ``folder``, by name: (3, H, W) uint8.

    Pairs are named NAME_HR.png and NAME_LR.png; without any, small pictures are made by MATLAB's
    bicubic. Raises ``ArgumentError`` for a folder without pictures, ``FormatError`` for a damaged
    one.
    """
    for name, small_file, large_file in _files(folder):
        large = _read(large_file)
        small = _read(small_file) if small_file else _shrink(large, scale)
        yield name, small, large[:, : small.shape[1] * scale, : small.shape[2] * scale]


def _files(folder: Path) -> list[tuple[str, Path | None, Path]]:
    if not folder.is_dir():
        raise ArgumentError(f"FOLDER: a folder of pictures is accepted, got {folder}")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _KINDS)
    if not files:
        raise ArgumentError(f"FOLDER: {folder} holds no pictures")
    found: list[tuple[str, Path | None, Path]] = []
    for file in [p for p in files if p.stem.endswith("_HR")]:
        small = file.with_name(re.sub(r"_HR$", "_LR", file.stem) + file.suffix)
        if not small.is_file():
            raise ArgumentError(f"FOLDER: {file.name} has no partner {small.name}")
        found.append((file.stem.removesuffix("_HR"), small, file))
    return found or [(file.stem, None, file) for file in files]


def _read(file: Path) -> Tensor:
    try:
        with Image.open(file) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"{file} is not a picture that can be read: {error}") from error


def _shrink(large: Tensor, scale: int) -> Tensor:
    """The low-resolution picture the paper's protocol makes: MATLAB bicubic, 8 bits."""
    height, width = large.shape[1] // scale, large.shape[2] // scale
    cut = large[:, : height * scale, : width * scale]
    return quantize(resize(cut.double(), height, width), bits=8)
