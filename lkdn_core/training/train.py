"""The training loop: resumable from its folder at any step, safe to kill at any moment."""

import csv
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lkdn_core.arch import LKDN, LKDN_CONFIGS
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import Weights, dense_head, reparameterize
from lkdn_core.network import run_network
from lkdn_core.training.adan import Adan
from lkdn_core.training.data import Tiles
from lkdn_core.training.depthwise import depthwise5
from lkdn_core.training.init import load_body, start_as_bilinear
from lkdn_core.training.recipe import Recipe

__all__ = ["Training"]

log = logging.getLogger(__name__)


class Training:
    """One run in ``folder``: ``recipe.json``, ``state.pt``, ``log.csv`` and two weights files.

    ``ema.safetensors`` holds the averaged weights in training form, a ``start`` for another run;
    ``weights.safetensors`` the same folded, for ``Upscaler(weights=...)``. A folder with a
    ``state.pt`` is resumed, and refused if its recipe is another one.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        packs: Sequence[Path],
        *,
        start: Path | None = None,
        device: torch.device,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        config = LKDN_CONFIGS[recipe.network]
        self.model = LKDN(config)
        start_as_bilinear(self.model)
        if start is not None:
            load_body(self.model, read_checkpoint(start)[0])
        self.model.to(self.device)
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimizer = Adan(self.model.parameters(), lr=recipe.lr)
        self.tiles = Tiles(packs, scale=config.scale, seed=recipe.seed, device=device)
        self.step = self.skipped = 0
        self._resume()

    def run(self, *, save_every: int = 250) -> None:
        """Train to the recipe's last step, saving every ``save_every`` steps."""
        loss_sum, since, started = 0.0, 0, time.monotonic()
        for _ in tqdm(range(self.step, self.recipe.steps), unit="step", mininterval=10):
            loss_sum += self.train_step()
            since += 1
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                seconds = time.monotonic() - started
                self._log(loss=loss_sum / since, seconds_per_step=seconds / since)
                self.save()
                loss_sum, since, started = 0.0, 0, time.monotonic()

    def train_step(self) -> float:
        """One optimiser step on one batch; returns its loss. A non-finite gradient is skipped."""
        lr, hr = self.tiles.batch(self.recipe.batch_size, self.recipe.patch)
        lr = lr.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        bf16 = self.recipe.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            sr = self.forward(lr)
        loss = F.l1_loss(sr.float(), hr) if self.recipe.loss == "l1" else F.mse_loss(sr.float(), hr)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.recipe.clip or float("inf")
        )
        if norm.isfinite():
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr_at(self.step)
            self.optimizer.step()
            weights = self.model.state_dict()
            # A young average forgets its start faster.
            decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.ema.values()), list(weights.values()), 1 - decay)
        else:
            self.skipped += 1
        self.step += 1
        return float(loss.detach())

    def forward(self, lr: Tensor) -> Tensor:
        """The network through its differentiable fold: same function, fewer maps in memory."""
        weights = dense_head(reparameterize(dict(self.model.named_parameters())))
        # In float32 torch's own gradient is as fast.
        fast = self.device.type == "cpu" and self.recipe.precision == "bf16"
        return run_network(weights, lr, depthwise=depthwise5 if fast else None)

    def save(self) -> None:
        """Write the state under a new name, then rename: the old one stays until then."""
        state = {
            "step": self.step,
            "skipped": self.skipped,
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "data": self.tiles.random.bit_generator.state,
        }
        part = self.folder / "state.pt.part"
        torch.save(state, part)
        os.replace(part, self.folder / "state.pt")
        folded = reparameterize({k: v.double() for k, v in self.ema.items()})
        self._save_weights("ema.safetensors", self.ema)
        self._save_weights("weights.safetensors", {k: v.float() for k, v in folded.items()})

    def _save_weights(self, name: str, weights: Weights) -> None:
        part = self.folder / f"{name}.part"
        metadata = {"network": self.recipe.network, "steps": str(self.step)}
        contiguous = {k: v.cpu().contiguous() for k, v in weights.items()}
        save_file(contiguous, part, metadata=metadata)
        os.replace(part, self.folder / name)

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        recipe, file = asdict(self.recipe), self.folder / "recipe.json"
        if not (self.folder / "state.pt").exists():
            file.write_text(json.dumps(recipe, indent=1))
            return
        _same_recipe(json.loads(file.read_text()), recipe)
        state: dict[str, Any] = torch.load(
            self.folder / "state.pt", map_location=self.device, weights_only=True
        )
        self.step, self.skipped = state["step"], state["skipped"]
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.tiles.random.bit_generator.state = state["data"]
        log.info("resumed %s at step %d", self.folder, self.step)

    def _log(self, *, loss: float, seconds_per_step: float) -> None:
        file = self.folder / "log.csv"
        new = not file.exists()
        with file.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["step", "loss", "lr", "seconds_per_step", "skipped"])
            lr = self.recipe.lr_at(self.step - 1)
            row = [self.step, f"{loss:.6f}", f"{lr:.3e}", f"{seconds_per_step:.4f}", self.skipped]
            writer.writerow(row)


def _same_recipe(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        if old.get(name) != value:
            raise ArgumentError(
                f"{name}: this folder was trained with {old.get(name)!r}, got {value!r}"
            )
