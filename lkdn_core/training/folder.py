"""The folder of a run: its recipe, state, curve and weights, each written whole or not at all."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from lkdn_core.errors import ArgumentError, FormatError, WeightsError
from lkdn_core.files import naming, replacing
from lkdn_core.fuse import Weights, reparameterize
from lkdn_core.training.parallel import main_process
from lkdn_core.training.recipe import Recipe

__all__ = ["RunFolder", "keep_sources", "locked"]


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run's ``lock``. Raises ``ArgumentError`` while another process does."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ArgumentError(f"RUN: another lkdn-train is at work in {run}") from error
    except (NotImplementedError, OSError):  # no such locks on this disk
        pass
    try:
        yield
    finally:
        lock.release()


def keep_sources(run: Path, data: Mapping[str, Any], *, start: Path | None = None) -> None:
    """Keep what a run is made of in ``sources.json``; a pack of other ``data`` is removed.

    A run of before this file was there goes on with the data it has. Raises ``ArgumentError`` if
    steps were taken on other data or, where one is given, from another ``start``; ``FormatError``
    for a damaged file.
    """
    file, packed, state = (run / name for name in ("sources.json", "data.json", "state.pt"))
    old = _read(file) if file.exists() else {}
    new = dict(data)
    if start or not state.exists():  # who only goes on need not say where it all began
        new["start"] = str(start.resolve()) if start else None
    if old and state.exists():
        # Older runs don't know all.
        _same_recipe(old, {name: new[name] for name in new if name in old})
        return
    if old and any(old.get(name) != value for name, value in data.items()):
        packed.unlink(missing_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    _write(file, json.dumps(new, indent=1))


class RunFolder:
    """``recipe.json``, ``state.pt``, ``log.csv``, and weights: averaged, folded, and the best.

    Raises ``ArgumentError`` if a run with another recipe lies there, ``FormatError`` if its recipe
    is damaged.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self._network = path, recipe.network
        path.mkdir(parents=True, exist_ok=True)
        file, data = path / "recipe.json", recipe.as_data()
        if (path / "state.pt").exists():
            _same_recipe(_read(file), json.loads(json.dumps(data)))
        elif main_process():
            _write(file, json.dumps(data, indent=1))

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """What `save_state` wrote last, or ``None`` in a new folder.

        Raises ``WeightsError`` for a damaged file.
        """
        file = self.path / "state.pt"
        if not file.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except Exception as error:  # a damaged file fails in any way a parser can
            raise WeightsError(f"{file} is damaged, or not the state of a run") from error
        return state

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state under a new name, then rename: the old one stays until then."""
        memory = io.BytesIO()  # torch's own writer aborts where a disk is full
        torch.save(state, memory)
        with replacing(self.path / "state.pt") as file:
            file.write(memory.getvalue())

    def save_weights(self, ema: Weights, step: int) -> None:
        """Write the averaged weights in training form and, if they can run elsewhere, folded.

        Without the safetensors library nothing is written; the state holds them too.
        """
        self._write_weights("ema.safetensors", ema, step)
        if self._network.deployable:
            self._write_weights("weights.safetensors", _folded(ema), step)

    def is_best(self, figures: Mapping[str, float]) -> bool:
        """Whether the PSNR among ``figures`` is above all in the curve so far."""
        before = [float(row.get("psnr", "nan")) for row in self._curve()]
        return "psnr" in figures and not any(old >= figures["psnr"] for old in before)

    def save_best(self, ema: Weights, step: int) -> None:
        """Write ``best.safetensors``: the averaged weights, folded if they can run elsewhere."""
        weights = _folded(ema) if self._network.deployable else ema
        self._write_weights("best.safetensors", weights, step)

    def _write_weights(self, name: str, weights: Weights, step: int) -> None:
        try:
            from safetensors.torch import save
        except ImportError:
            return
        metadata = {"network": self._network.variant, "steps": str(step)}
        with replacing(self.path / name) as file:
            file.write(save({k: v.cpu().contiguous() for k, v in weights.items()}, metadata))

    def log(self, row: Mapping[str, object]) -> None:
        """Append a row to the curve; a column that is new is nan in the rows before."""
        rows = self._curve()
        if not rows or row.keys() - rows[0].keys():
            self._write_curve([*rows, row])
            return
        file = self.path / "log.csv"
        with naming(file), file.open("a", newline="") as handle:
            csv.DictWriter(handle, list(rows[0]), "nan").writerow(row)

    def cut_log(self, step: int) -> int:
        """Drop the rows beyond ``step``: those steps are taken again. Returns that of the last."""
        rows = self._curve()
        kept = [row for row in rows if int(row["step"]) <= step]
        if len(kept) < len(rows):
            self._write_curve(kept)
        return int(kept[-1]["step"]) if kept else 0

    def _curve(self) -> list[dict[str, str]]:
        file = self.path / "log.csv"
        if not file.exists():
            return []
        try:
            with file.open(newline="") as handle:
                # Rows may be longer than their header where that was not followed.
                rows = list(csv.DictReader(handle, restkey="", restval="nan"))
            for row in rows:
                int(row["step"]), float(row.get("psnr", 0))
        except (csv.Error, LookupError, ValueError) as error:
            raise FormatError(f"{file} is damaged; without it, a new one begins") from error
        return [{k: v for k, v in row.items() if k} for row in rows]

    def _write_curve(self, rows: Sequence[Mapping[str, object]]) -> None:
        columns = dict.fromkeys(name for row in rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), "nan")
        writer.writeheader()
        writer.writerows(rows)
        _write(self.path / "log.csv", text.getvalue())


def _folded(ema: Weights) -> Weights:
    folded = reparameterize({k: v.double() for k, v in ema.items()})
    return {k: v.float() for k, v in folded.items()}


def _read(file: Path) -> dict[str, Any]:
    """What a JSON file holds. Raises ``FormatError`` for a damaged one."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file} is damaged, or gone") from error
    if not isinstance(content, dict):
        raise FormatError(f"{file} is damaged: an object is expected in it")
    return content


def _write(file: Path, text: str) -> None:
    """Write ``text`` under a new name, then rename."""
    with replacing(file) as new:
        new.write(text.encode())


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
