"""The training loop: resumable from its folder at any step, safe to kill at any moment."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from lkdn_core.arch import LKDN
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.checks import whole
from lkdn_core.errors import ArgumentError, LKDNError, WeightsError
from lkdn_core.fuse import Weights, fuse
from lkdn_core.training.adan import Adan
from lkdn_core.training.data import Tiles
from lkdn_core.training.folder import RunFolder
from lkdn_core.training.forward import fast_network, fold
from lkdn_core.training.init import load_body, start_as_bilinear
from lkdn_core.training.muon import Muon
from lkdn_core.training.parallel import (
    any_process,
    average_gradients,
    main_process,
    mean_of_all,
    share,
)
from lkdn_core.training.recipe import Recipe
from lkdn_core.training.replay import Replay

__all__ = ["Training", "Validate", "check_weights"]

log = logging.getLogger(__name__)
#: Skipped steps in a row after which no other will be any better.
MOST_SKIPPED: Final = 100
#: Figures of a network with averaged weights, by name, for the curve.
Validate = Callable[[LKDN], dict[str, float]]


class Training:
    """One run in ``folder``, on data from ``packs``.

    ``ema.safetensors`` there holds the averaged weights in training form, a ``start`` for another
    run; ``weights.safetensors`` the same folded, for ``Upscaler(weights=...)``, and
    ``best.safetensors`` those of the best PSNR, where it is measured. A folder with a ``state.pt``
    is resumed, and refused if its recipe is another one.
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
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # where Triton and graphs go
        self.recipe, self.device = recipe, device
        self.folder = RunFolder(folder, recipe)
        self.model = LKDN(recipe.network)
        start_as_bilinear(self.model)
        if start is not None:
            load_body(self.model, read_checkpoint(start)[0])
        self.model.to(self.device)
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.teacher = _teacher(recipe, device)
        self.tiles = Tiles(packs, scale=recipe.network.scale, seed=recipe.seed, device=device)
        for stage in recipe.stages:  # a later one would come up after weeks
            self.tiles.check(stage.patch)
        self.run_network = fast_network(device, recipe.precision)
        self.step = self.skipped = self.skipped_in_a_row = 0
        self.row: dict[str, object] = {}  # of the curve, at the last save
        self.decay = torch.zeros((), device=device)
        self.optimizer = self._new_optimizer()
        self._resume()
        self._prepare()

    def run(
        self,
        *,
        save_every: int = 250,
        minutes: float = float("inf"),
        validate: Validate | None = None,
        progress: Callable[[range], Iterable[int]] = iter,
    ) -> None:
        """Train to the recipe's last step, or to the first save after ``minutes``.

        Saves every ``save_every`` steps, and calls ``validate`` then. ``progress`` wraps the steps
        to show them. Of several processes the main one saves. Raises ``ArgumentError`` for a
        ``save_every`` below 1, ``LKDNError`` after ``MOST_SKIPPED`` skipped steps in a row.
        """
        whole("save_every", save_every, 1)
        if main_process():
            if self.step:
                # Where the last steps were taken there may have been no library to write them.
                self.folder.save_weights(self.ema, self.step)
            if self.folder.cut_log(self.step) < self.step and self.row:
                self._log(validate)  # which the last command did not come to
        begun = started = time.monotonic()
        losses: list[Tensor] = []
        for _ in progress(range(self.step, self.recipe.steps)):
            losses.append(self.train_step())
            if self.step % save_every and self.step < self.recipe.steps:
                continue
            seconds = (time.monotonic() - started) / len(losses)
            finite = torch.stack([loss for loss in losses if loss.isfinite()] or losses)
            loss = mean_of_all(finite.mean())
            if main_process():
                self.row = {
                    "step": self.step,
                    "loss": f"{loss:.6f}",
                    "lr": f"{self.recipe.lr_at(self.step - 1):.3e}",
                    "seconds_per_step": f"{seconds:.4f}",
                    "skipped": self.skipped,
                }
                self.save()  # first: whatever goes wrong in validate costs no steps
                self._log(validate)
            losses, started = [], time.monotonic()
            if any_process(started - begun > 60 * minutes, self.device):
                return

    def train_step(self) -> Tensor:
        """One optimiser step on one batch; returns its loss. A non-finite gradient is skipped."""
        number, inner = self.recipe.stage_at(self.step)
        stage = self.recipe.stages[number]
        if self.step and not inner:
            self.model.load_state_dict(self.ema)
            self.optimizer = self._new_optimizer()
            self._prepare()
        part = share(stage.batch_size)
        loss, norm = self._gradients(*self.tiles.batch(stage.batch_size, stage.patch, part=part))
        loss = loss.clone()  # the next run overwrites it
        if norm.isfinite():
            for group in self.optimizer.param_groups:
                _set(group, "lr", self.recipe.lr_at(self.step))
            # A young average forgets its start faster.
            self.decay.fill_(min(self.recipe.ema, (1 + self.step) / (10 + self.step)))
            self._move()
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row == MOST_SKIPPED:
                raise LKDNError(
                    f"no gradient of the last {MOST_SKIPPED} steps was finite; begin again with a "
                    "smaller --lr or with --clip, from a copy of this folder's weights (--start) "
                    "if there are any"
                )
        self.step += 1
        return loss

    def forward(self, lr: Tensor) -> Tensor:
        """The network, folded: (N, 3, H, W) to (N, 3, sH, sW), not clamped."""
        return fold(self.model, self.run_network)(lr)

    def save(self) -> None:
        """Write the state and the weights; ``state.pt`` is a ``start`` for another run too."""
        self.folder.save_state(
            {
                "step": self.step,
                "skipped": self.skipped,
                "row": self.row,
                "model": self.model.state_dict(),
                "params_ema": self.ema,
                "optimizer": self.optimizer.state_dict(),
                "data": self.tiles.random.bit_generator.state,
            }
        )
        self.folder.save_weights(self.ema, self.step)

    def _prepare(self) -> None:
        """What a stage's steps are made of: plain calls, or graphs to be recorded on one GPU."""
        _place_numbers(self.optimizer, self.device)
        graphs = self.device.type == "cuda" and not dist.is_initialized()
        self._gradients = Replay(self._find_gradients) if graphs else self._find_gradients
        self._move = Replay(self._apply_gradients) if graphs else self._apply_gradients

    def _find_gradients(self, lr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of one batch into the parameters; returns the loss, and their norm."""
        stage = self.recipe.stages[self.recipe.stage_at(self.step)[0]]
        lr = lr.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        bf16 = self.recipe.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            sr = self.forward(lr)
        loss = F.l1_loss(sr.float(), hr) if stage.loss == "l1" else F.mse_loss(sr.float(), hr)
        if self.teacher:
            with torch.no_grad():
                taught = self.run_network(self.teacher, lr)
            loss = loss + self.recipe.teacher_weight * F.l1_loss(sr.float(), taught)
        torch.autograd.backward(loss)
        average_gradients(self.model.parameters())
        clip = self.recipe.clip or float("inf")
        return loss.detach(), torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)

    def _apply_gradients(self) -> None:
        """One step of the optimiser, and of the average."""
        self.optimizer.step()
        averages, weights = list(self.ema.values()), list(self.model.state_dict().values())
        away = torch._foreach_sub(averages, weights)
        torch._foreach_mul_(away, self.decay)
        torch._foreach_copy_(averages, torch._foreach_add(weights, away))

    def _new_optimizer(self) -> torch.optim.Optimizer:
        recipe, parameters = self.recipe, self.model.parameters()
        if recipe.optimizer == "adam":
            beta1, beta2 = recipe.betas
            return torch.optim.Adam(parameters, betas=(beta1, beta2), foreach=True)
        beta1, beta2, beta3 = recipe.betas
        kind = Muon if recipe.optimizer == "muon" else Adan
        return kind(parameters, betas=(beta1, beta2, beta3))

    def _resume(self) -> None:
        state = self.folder.load_state(self.device)
        if state is None:
            return
        try:
            self.step, self.skipped = int(state["step"]), int(state["skipped"])
            self.row = state.get("row", {})  # not in older runs
            self.model.load_state_dict(state["model"])
            self.ema = state["params_ema"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.tiles.random.bit_generator.state = state["data"]
            if self.step < 0 or _shapes(self.ema) != _shapes(self.model.state_dict()):
                raise ValueError("of another network")
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            file = self.folder.path / "state.pt"
            raise WeightsError(f"{file} is not the state of this run") from error
        log.info("resumed %s at step %d", self.folder.path, self.step)

    def _log(self, validate: Validate | None) -> None:
        row = dict(self.row)
        if validate is not None:
            averaged = LKDN(self.recipe.network).to(self.device)
            averaged.load_state_dict(self.ema)
            figures = validate(averaged)
            if self.folder.is_best(figures):
                self.folder.save_best(self.ema, self.step)
            row |= {k: f"{v:.4f}" for k, v in figures.items()}
        self.folder.log(row)


def check_weights(recipe: Recipe, start: Path | None) -> None:
    """Raise what `Training` would for ``start`` and the recipe's teacher, without any data."""
    if start is not None:
        load_body(LKDN(recipe.network), read_checkpoint(start)[0])
    _teacher(recipe, torch.device("cpu"))


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _place_numbers(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Numbers that change from step to step as graphs need them: tensors on a GPU."""
    cuda = device.type == "cuda"
    for group in optimizer.param_groups:
        for name in {"lr", "step"} & group.keys():
            number = float(group[name])
            group[name] = torch.tensor(number, device=device) if cuda else number
        if "capturable" in group:
            group["capturable"] = cuda
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = state["step"].to(device)


def _set(group: dict[str, Any], name: str, value: float) -> None:
    """Change a number of an optimiser in place, where a graph reads it, if it is a tensor."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def _teacher(recipe: Recipe, device: torch.device) -> Weights:
    """The teacher's weights, fused; empty without one."""
    if not recipe.teacher:
        return {}
    weights, config = read_checkpoint(recipe.teacher)
    if config.scale != recipe.network.scale:
        raise ArgumentError(
            f"teacher: a x{recipe.network.scale} network is accepted, got x{config.scale}"
        )
    return {k: v.float().to(device) for k, v in fuse(weights).items()}
