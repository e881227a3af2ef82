"""Training data: batches of patches cut out of packs, on the device, without decoding anything."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.quantize import quantize
from lkdn_core.resize import bicubic_weights
from lkdn_core.training.pack import pack_files

__all__ = ["Tiles"]

#: Low-resolution pixels around a patch that its bicubic shrinking reads.
MARGIN: Final = 4
#: Random numbers that choose one patch: tile, row, column, turn, small version.
CHOICES: Final = 5

Numbers = NDArray[np.int64]


class Tiles:
    """Random batches of low- and high-resolution patches from packs (`lkdn_core.training.pack`).

    Where a pack holds pictures alone, small patches are made by MATLAB's antialiased bicubic; where
    it holds small versions too, one of them is taken. Tiles are drawn by area times sharpness to
    the power ``0.5``, sharpness capped at twice its mean (text and screenshots would dominate), and
    patches are flipped and transposed at random.

    Packs are memory-mapped. If all of them fit into half of the free memory of a GPU they are
    copied there once, as bytes, and patches are cut there. The random numbers come from one NumPy
    generator in either case, five a patch, so the patches don't depend on the device.
    """

    def __init__(
        self, packs: Sequence[Path], *, scale: int, seed: int, device: torch.device
    ) -> None:
        for path in packs:
            if not pack_files(path)[1].is_file():
                raise ArgumentError(f"data: no such pack: {path}")
        home = _home(packs, device)
        self._packs = [_Pack.open(p, scale, home) for p in packs]
        self._scale, self._device = scale, device
        self._chances: dict[int, NDArray[np.float64]] = {}
        self.random = np.random.default_rng(seed)

    def check(self, patch: int) -> None:
        """Raise ``ArgumentError`` where no picture is large enough for ``patch``, see `batch`."""
        self._cumulative(patch)

    def batch(self, size: int, patch: int, *, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """``(lr, hr)``: (N, 3, P, P) and (N, 3, sP, sP) float32 in [0, 1], lr rounded to 8 bits.

        ``patch`` is P. ``part``: the patches to return out of the ``size`` that are drawn, so that
        several processes with the same seed share one batch. Raises ``ArgumentError`` where no
        picture is large enough.
        """
        # Whatever part is cut, all numbers are drawn: the generators of all processes keep step.
        chance = self._cumulative(patch)
        numbers = self.random.random((size, CHOICES))[part]
        tiles = np.searchsorted(chance, numbers[:, 0] * chance[-1], side="right")
        ends = np.cumsum([len(p.at) for p in self._packs])
        owners = np.searchsorted(ends, tiles, side="right")
        found = []
        for i in np.unique(owners):
            mine, pack = owners == i, self._packs[i]
            cut = pack.stored if pack.small else pack.shrunk
            found.append(cut(tiles[mine] - (ends[i] - len(pack.at)), numbers[mine], patch))
        lr, hr = (torch.cat(patches).to(self._device) for patches in zip(*found, strict=True))
        return lr, hr

    def _cumulative(self, patch: int) -> NDArray[np.float64]:
        """Running sum of the chances of all tiles, 0 for those too small for ``patch``."""
        if patch not in self._chances:
            area = np.concatenate([p.height * p.width * p.fits(patch) for p in self._packs])
            if not area.any():
                least = min(p.need(patch) for p in self._packs)
                raise ArgumentError(
                    f"patch: one that fits into a picture is accepted, got {patch}, which takes "
                    f"{least} pixels a side of the large one"
                )
            chance, large = area.astype(np.float64), area > 0
            sharpness = np.concatenate([p.sharpness for p in self._packs])[large]
            if sharpness.any():  # of flat pictures alone, area decides
                chance[large] *= np.minimum(sharpness, 2 * sharpness.mean()) ** 0.5
            self._chances[patch] = np.cumsum(chance)
        return self._chances[patch]


def _home(packs: Sequence[Path], device: torch.device) -> torch.device:
    """Where the packs' bytes go."""
    if device.type != "cuda":
        return torch.device("cpu")
    size = sum(pack_files(p)[0].stat().st_size for p in packs)
    free, _ = torch.cuda.mem_get_info(device)
    return device if size <= free / 2 else torch.device("cpu")


@dataclass(frozen=True)
class _Pack:
    """The bytes of a pack and its index. ``small``: versions of each picture, 0 for none."""

    samples: Tensor
    scale: int
    at: Numbers
    height: Numbers
    width: Numbers
    sharpness: NDArray[np.float64]
    small: int

    @classmethod
    def open(cls, path: Path, scale: int, device: torch.device) -> "_Pack":
        binary, file = pack_files(path)
        try:
            index = json.loads(file.read_text())
            kinds = {(tile.get("scale", scale), tile.get("small", 0)) for tile in index}
            (stored, small), *others = kinds
            at = np.array([t["at"] for t in index], np.int64)
            height, width = np.array([t["shape"] for t in index], np.int64).T
            sharpness = np.array([t["sharpness"] for t in index], np.float64)
            sharpness[np.isnan(sharpness)] = 0  # of lines, in packs of before
            planes = height * width + small * (height // scale) * (width // scale)
            need = int((at + 3 * planes).max())
            least = min(at.min(), height.min() - 1, width.min() - 1, sharpness.min())
            if least < 0 or np.isinf(sharpness).any():
                raise ValueError("a place, a size or a sharpness that can't be")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise FormatError(f"data: {file} is not the index of a pack") from error
        if stored != scale or others:
            raise ArgumentError(f"data: {path} holds small pictures for x{stored}, got x{scale}")
        size = binary.stat().st_size
        if size < need:
            raise FormatError(f"data: {binary} is cut off: {need} bytes are needed, got {size}")
        samples = torch.from_file(str(binary), shared=False, size=size, dtype=torch.uint8)
        return cls(samples.to(device), scale, at, height, width, sharpness, small)

    def need(self, patch: int) -> int:
        """Pixels a side that a picture must have."""
        return (patch + (0 if self.small else 2 * MARGIN)) * self.scale

    def fits(self, patch: int) -> NDArray[np.bool_]:
        """Which pictures are large enough."""
        found: NDArray[np.bool_] = np.minimum(self.height, self.width) >= self.need(patch)
        return found

    def shrunk(
        self, tiles: Numbers, numbers: NDArray[np.float64], patch: int
    ) -> tuple[Tensor, Tensor]:
        """Small patches by bicubic, out of high-resolution ones cut with a margin."""
        side, edge = self.need(patch), MARGIN * self.scale
        height, width = self.height[tiles], self.width[tiles]
        y = (numbers[:, 1] * (height - side + 1)).astype(np.int64)
        x = (numbers[:, 2] * (width - side + 1)).astype(np.int64)
        hr = self._cut(self.at[tiles], height, width, y, x, _turn(numbers), side)
        shrink = bicubic_weights(side, side // self.scale)[MARGIN : MARGIN + patch].to(hr)
        lr = quantize((shrink @ hr @ shrink.T).mul_(255), bits=8).float().div_(255)
        return lr, hr[..., edge:-edge, edge:-edge]

    def stored(
        self, tiles: Numbers, numbers: NDArray[np.float64], patch: int
    ) -> tuple[Tensor, Tensor]:
        """Patches at the same place of a picture and of one of its small versions."""
        scale, turn = self.scale, _turn(numbers)
        height, width = self.height[tiles] // scale, self.width[tiles] // scale
        y = (numbers[:, 1] * (height - patch + 1)).astype(np.int64)
        x = (numbers[:, 2] * (width - patch + 1)).astype(np.int64)
        version = (numbers[:, 4] * self.small).astype(np.int64)
        at, plane = self.at[tiles], height * width
        small = at + 3 * plane * (scale**2 + version)
        lr = self._cut(small, height, width, y, x, turn, patch)
        large = height * scale, width * scale, y * scale, x * scale
        return lr, self._cut(at, *large, turn, patch * scale)

    def _cut(  # noqa: PLR0917
        self,
        at: Numbers,
        height: Numbers,
        width: Numbers,
        y: Numbers,
        x: Numbers,
        turn: Numbers,
        side: int,
    ) -> Tensor:
        """Square patches (N, 3, ``side``, ``side``) in [0, 1], in one of eight orientations.

        ``turn`` adds 1 for upside down, 2 for mirrored, 4 for transposed.
        """
        up, back, across = turn & 1, turn >> 1 & 1, turn >> 2 & 1
        # A patch is a start, and steps from row to row and from sample to sample.
        start = at + (y + up * (side - 1)) * width + x + back * (side - 1)
        down, along = width * (1 - 2 * up), 1 - 2 * back
        steps = np.stack([height * width, np.where(across, along, down)])
        steps = np.stack([*steps, np.where(across, down, along), start])
        plane, row, column, first = torch.from_numpy(steps).to(self.samples.device)[..., None, None]
        line = self._line[:side]
        index = first + row * line[:, None] + column * line  # (N, side, side)
        colour = plane[:, None] * self._line[:3, None, None]  # (N, 3, 1, 1)
        return torch.take(self.samples, index[:, None] + colour).float().div_(255)

    @cached_property
    def _line(self) -> Tensor:
        longest = max(3, int(self.height.max()), int(self.width.max()))
        return torch.arange(longest, device=self.samples.device)


def _turn(numbers: NDArray[np.float64]) -> Numbers:
    return (numbers[:, 3] * 8).astype(np.int64)
