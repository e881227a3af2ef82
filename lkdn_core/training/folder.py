"""The folder of a run: its recipe, state, curve and weights, each written whole or not at all."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import Weights, reparameterize
from lkdn_core.training.recipe import Recipe

__all__ = ["RunFolder"]


class RunFolder:
    """``recipe.json``, ``state.pt``, ``log.csv``, ``ema.safetensors`` and ``weights.safetensors``.

    Raises ``ArgumentError`` if a run with another recipe lies there.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self._network = path, recipe.network
        path.mkdir(parents=True, exist_ok=True)
        file, data = path / "recipe.json", recipe.as_data()
        if (path / "state.pt").exists():
            _same_recipe(json.loads(file.read_text()), json.loads(json.dumps(data)))
        else:
            file.write_text(json.dumps(data, indent=1))

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """What `save_state` wrote last, or ``None`` in a new folder."""
        file = self.path / "state.pt"
        if not file.exists():
            return None
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        return state

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state under a new name, then rename: the old one stays until then."""
        part = self.path / "state.pt.part"
        torch.save(state, part)
        os.replace(part, self.path / "state.pt")

    def save_weights(self, ema: Weights, step: int) -> None:
        """Write the averaged weights in training form and, if they can run elsewhere, folded.

        Without the safetensors library nothing is written; the state holds them too.
        """
        try:
            from safetensors.torch import save_file
        except ImportError:
            return
        files = {"ema.safetensors": ema}
        if self._network.deployable:
            folded = reparameterize({k: v.double() for k, v in ema.items()})
            files["weights.safetensors"] = {k: v.float() for k, v in folded.items()}
        for name, weights in files.items():
            part = self.path / f"{name}.part"
            metadata = {"network": self._network.variant, "steps": str(step)}
            save_file({k: v.cpu().contiguous() for k, v in weights.items()}, part, metadata)
            os.replace(part, self.path / name)

    def log(self, row: Mapping[str, object]) -> None:
        """Append a row to the curve."""
        file = self.path / "log.csv"
        new = not file.exists()
        with file.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


def _same_recipe(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ``ArgumentError`` naming the first field that differs."""
    for name, value in new.items():
        before = old.get(name)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            _same_recipe(before, value)
        if name == "stages" and isinstance(before, list) and len(before) == len(value):
            for stages in zip(before, value, strict=True):
                _same_recipe(*stages)
        raise ArgumentError(f"{name}: this folder was trained with {before!r}, got {value!r}")
