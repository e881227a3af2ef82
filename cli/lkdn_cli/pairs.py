"""Pictures to measure networks on: high-resolution ones, or pairs."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lkdn_core.errors import ArgumentError
from lkdn_core.quantize import quantize
from lkdn_core.resize import resize
from lkdn_media.images import READABLE, read_still

__all__ = ["read_pairs"]

log = logging.getLogger(__name__)


def read_pairs(
    folder: Path, scale: int, *, small: Path | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """``(name, small, large)`` of every picture in ``folder``, by name: (3, H, W) uint8.

    Small pictures lie in the folder ``small`` under the same names, with or without ``x4`` behind
    (DIV2K's way). Without it pairs are named NAME_HR.png and NAME_LR.png; where none are, small
    pictures are made by MATLAB's bicubic. Hidden files are passed over. Raises ``ArgumentError``
    for a folder without pictures or with one that does not suit ``scale``, ``LKDNError`` for one
    that can't be read.
    """
    files = _files(folder) if small is None else _beside(_pictures(folder), small, scale)
    for name, small_file, large_file in files:
        large = _read(large_file)
        # A border of ``scale`` is left out of whole small pixels, and SSIM has 11x11 windows.
        least = -(-(2 * scale + 11) // scale) * scale
        if min(large.shape[1:]) < least:
            raise ArgumentError(
                f"FOLDER: pictures from {least}x{least} are accepted, "
                f"{large_file.name} has {_size(large)}"
            )
        less = _read(small_file) if small_file else _shrink(large, scale)
        if any(large.shape[i] // scale != less.shape[i] for i in (1, 2)):
            raise ArgumentError(
                f"FOLDER: {large_file.name} has to be {scale} times as large as its partner of "
                f"{_size(less)}, got {_size(large)}"
            )
        yield name, less, large[:, : less.shape[1] * scale, : less.shape[2] * scale]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ArgumentError(f"FOLDER: a folder of pictures is accepted, got {folder}")
    shown = (p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir())
    files = sorted(p for p in shown if p.suffix.lower() in READABLE)
    if not files:
        raise ArgumentError(f"FOLDER: {folder} holds no pictures")
    return files


def _beside(large: list[Path], folder: Path, scale: int) -> Iterator[tuple[str, Path | None, Path]]:
    """Each of ``large`` with its partner in ``folder``."""
    files = _pictures(folder)
    small = {file.stem: file for file in files} | {file.name: file for file in files}
    for name, file in _named(large):
        keys = (file.name, file.stem, f"{file.stem}x{scale}")
        partner = next((small[key] for key in keys if key in small), None)
        if partner is None:
            raise ArgumentError(f"small: {file.name} has no partner in {folder}")
        yield name, partner, file


def _named(files: list[Path]) -> list[tuple[str, Path]]:
    """Each file under its name, without the ending where that leaves it the only one."""
    stems = Counter(file.stem for file in files)
    return [(p.stem if stems[p.stem] == 1 else p.name, p) for p in files]


def _files(folder: Path) -> list[tuple[str, Path | None, Path]]:
    files = _named(_pictures(folder))
    found: list[tuple[str, Path | None, Path]] = []
    for name, file in files:
        if not file.stem.endswith("_HR"):
            continue
        small = file.with_name(re.sub(r"_HR$", "_LR", file.stem) + file.suffix)
        if not small.is_file():
            raise ArgumentError(f"FOLDER: {file.name} has no partner {small.name}")
        found.append((name.removesuffix("_HR"), small, file))
    if found and len(found) < sum(not file.stem.endswith("_LR") for _, file in files):
        log.warning("warning: %s: pictures without _HR or _LR are passed over", folder)
    return found or [(name, None, file) for name, file in files]


def _read(file: Path) -> Tensor:
    """RGB of 8 bits, whatever the file holds."""
    still = read_still(file)
    pixels = torch.from_numpy(still.pixels.astype(np.int32)).permute(2, 0, 1)
    colour = pixels[:3] if len(pixels) > 2 else pixels[:1].expand(3, -1, -1)
    return quantize(colour / 257, bits=8) if still.bits == 16 else colour.to(torch.uint8)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]}x{picture.shape[1]}"


def _shrink(large: Tensor, scale: int) -> Tensor:
    """The low-resolution picture the paper's protocol makes: MATLAB bicubic, 8 bits."""
    height, width = large.shape[1] // scale, large.shape[2] // scale
    cut = large[:, : height * scale, : width * scale]
    return quantize(resize(cut.double(), height, width), bits=8)
