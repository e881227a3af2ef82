"""Training data: pictures decoded once into one memory-mapped file, batches cut from it."""

import io
import json
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lkdn_core.errors import ArgumentError
from lkdn_core.quantize import quantize
from lkdn_core.resize import bicubic_weights

__all__ = ["Tiles", "pack"]

#: Low-resolution pixels around a patch that its bicubic shrinking reads.
MARGIN = 4


def pack(sources: list[Path], target: Path, *, exclude: str = "") -> None:
    """Decode folders of images and ``.tar`` shards into ``target``.bin and ``target``.json.

    ``exclude`` is a glob on file names. The index is written last: it exists only when complete.
    """
    index = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".bin").open("wb") as binary:
        for name, data in _files(sources):
            if exclude and fnmatch(name, exclude):
                continue
            try:
                picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            except UnidentifiedImageError:
                continue
            height, width, _ = picture.shape
            sharpness = _sharpness(picture)
            index.append({"at": binary.tell(), "shape": [height, width], "sharpness": sharpness})
            binary.write(picture.transpose(2, 0, 1).tobytes())
    if not index:
        raise ArgumentError(f"data: no readable image in {', '.join(map(str, sources))}")
    target.with_suffix(".json").write_text(json.dumps(index))


def _files(sources: list[Path]) -> Iterator[tuple[str, bytes]]:
    for source in sources:
        if source.suffix == ".tar":
            with tarfile.open(source) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    if file is not None:
                        yield member.name, file.read()
        elif source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.is_file()):
                yield path.name, path.read_bytes()
        else:
            raise ArgumentError(f"data: folders and .tar files are accepted, got {source}")


def _sharpness(picture: np.ndarray) -> float:
    """Root mean square of neighbouring differences of the green channel, in 8-bit codes."""
    green = picture[..., 1].astype(np.float32)
    rows, columns = np.diff(green, axis=0), np.diff(green, axis=1)
    return float(np.sqrt((rows**2).mean() + (columns**2).mean()))


class Tiles:
    """Random batches of low- and high-resolution patches from a packed file.

    Tiles are drawn by area times sharpness to the power ``0.5``, sharpness capped at twice its
    mean (text and screenshots would dominate). Patches are flipped and rotated at random.
    """

    def __init__(self, packed: Path, *, scale: int, patch: int, seed: int) -> None:
        index = json.loads(packed.with_suffix(".json").read_text())
        self._bytes = np.memmap(packed.with_suffix(".bin"), np.uint8, "r")
        self._scale, self._patch = scale, patch
        self._size = (patch + 2 * MARGIN) * scale
        self._tiles = [t for t in index if min(t["shape"]) >= self._size]
        if not self._tiles:
            raise ArgumentError(f"patch: no picture has {self._size} pixels a side")
        sharpness = np.array([t["sharpness"] for t in self._tiles])
        area = np.array([t["shape"][0] * t["shape"][1] for t in self._tiles])
        weight = area * np.minimum(sharpness, 2 * sharpness.mean()) ** 0.5
        self._chance = weight / weight.sum()
        self.random = np.random.default_rng(seed)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """``(lr, hr)``: (N, 3, P, P) and (N, 3, sP, sP) float32 in [0, 1], lr rounded to 8 bits."""
        chosen = self.random.choice(len(self._tiles), size, p=self._chance)
        crops = torch.from_numpy(np.stack([self._crop(self._tiles[i]) for i in chosen]))
        hr = crops.float().div_(255)
        shrink = bicubic_weights(self._size, self._size // self._scale).float()
        shrink = shrink[MARGIN : MARGIN + self._patch]
        lr = quantize((shrink @ hr @ shrink.T).mul_(255), bits=8).float().div_(255)
        edge = MARGIN * self._scale
        return lr, hr[..., edge:-edge, edge:-edge]

    def _crop(self, tile: dict[str, Any]) -> np.ndarray:
        height, width = tile["shape"]
        view = self._bytes[tile["at"] : tile["at"] + 3 * height * width].reshape(3, height, width)
        y = self.random.integers(height - self._size + 1)
        x = self.random.integers(width - self._size + 1)
        crop = view[:, y : y + self._size, x : x + self._size]
        turns, flip = self.random.integers(4), self.random.integers(2)
        crop = np.rot90(crop, turns, (1, 2))
        return np.ascontiguousarray(crop[..., ::-1] if flip else crop)
