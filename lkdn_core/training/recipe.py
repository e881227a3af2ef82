"""What a training run is: the network, and stages of data, loss and learning rate."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

from lkdn_core.arch import LKDNConfig
from lkdn_core.checks import choose, number, whole
from lkdn_core.errors import ArgumentError

__all__ = ["PRESETS", "Recipe", "Stage", "read_recipe"]

_FOLDER: Final = Path(__file__).parent / "presets"
#: Recipes that ship, as TOML files: the paper's two, and its ablations.
PRESETS: Final = {file.stem: file for file in sorted(_FOLDER.glob("*.toml"))}
#: Decay rates of the authors' runs, by optimiser; Muon leaves some weights to Adan.
_BETAS: Final = {"adan": (0.98, 0.92, 0.99), "adam": (0.9, 0.99), "muon": (0.98, 0.92, 0.99)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a run. Defaults are the paper's recipe for LKDN (section 4.2).

    ``patch``: side of a low-resolution patch in pixels. ``lr`` is reached after ``warmup`` steps
    and kept, or follows half a cosine to ``final_lr`` at ``steps``.
    """

    steps: int = 1_000_000
    batch_size: int = 64
    patch: int = 48
    lr: float = 5e-3
    final_lr: float | None = None
    warmup: int = 0
    loss: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        # Beyond these something overflows, after pictures were packed for an hour.
        for name, most in (("steps", 10**12), ("batch_size", 10**6), ("patch", 10**4)):
            whole(name, getattr(self, name), 1, most)
        whole("warmup", self.warmup, 0, 10**12)
        number("lr", self.lr)
        if self.final_lr is not None:
            number("final_lr", self.final_lr)
        choose("loss", self.loss, ("l1", "l2"))

    def lr_at(self, step: int) -> float:
        """Learning rate of ``step`` (counted from 0)."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        final = self.lr if self.final_lr is None else self.final_lr
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return warm * (final + (self.lr - final) * fall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run: a stage starts from the averaged weights of the one before it.

    ``optimizer``: the paper's Adan, Adam, or Muon. ``betas``: of Adan (Muon's too) or Adam, ``()``
    for the authors'. ``ema``: decay of the averaged weights, which are what ships. ``clip``:
    largest gradient norm, 0 for none. ``precision``: of the forward and backward pass. ``teacher``:
    a checkpoint whose output is a second target, by L1 with ``teacher_weight``; ``""`` for none.
    """

    network: LKDNConfig
    stages: tuple[Stage, ...] = (Stage(),)
    optimizer: Literal["adan", "adam", "muon"] = "adan"
    betas: tuple[float, ...] = ()
    ema: float = 0.999
    clip: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    teacher: str = ""
    teacher_weight: float = 1.0

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, tuple(_BETAS))
        choose("precision", self.precision, ("fp32", "bf16"))
        if not self.stages:
            raise ArgumentError("stages: at least one is accepted, got none")
        if not self.betas:
            object.__setattr__(self, "betas", _BETAS[self.optimizer])
        if len(self.betas) != len(_BETAS[self.optimizer]):
            count = len(_BETAS[self.optimizer])
            raise ArgumentError(
                f"betas: {count} numbers are accepted for {self.optimizer}, got {self.betas}"
            )
        for beta in self.betas:
            number("betas", beta, below=1)
        number("ema", self.ema, below=1)
        number("clip", self.clip)
        number("teacher_weight", self.teacher_weight)
        whole("seed", self.seed, 0, 2**63 - 1)
        if not isinstance(self.teacher, str):
            raise ArgumentError(f"teacher: a path is accepted, got {self.teacher!r}")

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[int, int]:
        """Which stage ``step`` (from 0) belongs to, and its number there; the last for the end."""
        for i, stage in enumerate(self.stages[:-1]):
            if step < stage.steps:
                return i, step
            step -= stage.steps
        return len(self.stages) - 1, step

    def lr_at(self, step: int) -> float:
        """Learning rate of ``step`` (counted from 0)."""
        i, inner = self.stage_at(step)
        return self.stages[i].lr_at(inner)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """This recipe with some fields replaced, those of its stage among them.

        Raises ``ArgumentError`` for a field of a stage where there are several stages.
        """
        own = {f.name for f in fields(self)}
        inner = {k: v for k, v in changes.items() if k not in own}
        if inner and len(self.stages) > 1:
            name = next(iter(inner))
            count = len(self.stages)
            raise ArgumentError(f"{name}: a recipe of one stage takes it, this one has {count}")
        stages = tuple(replace(stage, **inner) for stage in self.stages)
        return replace(self, stages=stages, **{k: v for k, v in changes.items() if k in own})

    def as_data(self) -> dict[str, Any]:
        """This recipe as JSON keeps it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def read_recipe(preset: str, network: LKDNConfig | None = None) -> Recipe:
    """The recipe of a ``.toml`` file, or of a name in `PRESETS`.

    Its keys are the fields of `Recipe` and `Stage`; ``hr_patch`` may stand for ``patch``, in pixels
    of the large picture, rounded down to a multiple of the scale. ``network`` is needed where the
    file names none, and wins otherwise. Raises ``ArgumentError``.
    """
    path = Path(preset) if preset.endswith(".toml") else PRESETS.get(preset)
    if path is None or not path.is_file():
        names = ", ".join(PRESETS)
        raise ArgumentError(f"preset: {names} or a .toml file is accepted, got {preset!r}")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        own = [_made(LKDNConfig, data.pop("network"), "network")] if "network" in data else []
        config = network or (own[0] if own else None)
        if config is None:
            raise ArgumentError(f"network: {preset} is for any network, so name one")
        tables = data.pop("stages", [{}])
        if not isinstance(tables, list):
            raise ArgumentError(f"stages: [[stages]] is accepted, a list, got {tables!r}")
        stages = tuple(_stage(table, config.scale) for table in tables)
        if "betas" in data:
            if not isinstance(data["betas"], list):
                raise ArgumentError(f"betas: a list is accepted, got {data['betas']!r}")
            data["betas"] = tuple(data["betas"])
        return _made(Recipe, {"network": config, "stages": stages, **data}, "preset")
    except ArgumentError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise ArgumentError(f"preset: {path} is not a recipe: {error}") from error


def _stage(data: Mapping[str, Any], scale: int) -> Stage:
    values = dict(data)
    if "hr_patch" in values:
        if "patch" in values:
            raise ArgumentError("hr_patch: without patch is accepted, got both")
        side = values.pop("hr_patch")
        whole("hr_patch", side, scale)
        values["patch"] = side // scale
    return _made(Stage, values, "stages")


def _made[T](kind: type[T], values: Mapping[str, Any], name: str) -> T:
    """A ``kind`` with these fields. Raises ``ArgumentError`` for one that it has not."""
    if not isinstance(values, Mapping):
        raise ArgumentError(f"{name}: a table is accepted, got {values!r}")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ArgumentError(f"{name}: {', '.join(known)} are accepted, got {key}")
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [key for key in needed if key not in values]:
        raise ArgumentError(f"{name}: {missing[0]} is needed, got {', '.join(values) or 'nothing'}")
    return kind(**values)
