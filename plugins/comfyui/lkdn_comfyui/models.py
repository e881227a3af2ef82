"""Which network a graph means, and the engines that run it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from lkdn_core import Upscaler, list_models, load_model
from lkdn_core.arch import LKDN
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.models import DEFAULT_MODEL

__all__ = [
    "EngineOptions",
    "LKDNModel",
    "UpscaleModel",
    "engine_device",
    "engine_for",
    "model_from_file",
    "named_models",
]

#: Engines kept; between two runs each holds about a megabyte of weights.
_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class LKDNModel:
    """What an LKDN_MODEL socket carries: a network by name and scale, or by its file.

    ``stamp``: time and size of the file, so that a file that was replaced is a different model.
    ``denoise``: of `load_model`.
    """

    scale: int
    name: str = DEFAULT_MODEL
    weights: Path | None = None
    stamp: tuple[int, int] | None = None
    denoise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options of `Upscaler` as widgets give them; a negative ``overlap`` is the exact one."""

    device: str
    precision: str = "auto"
    batch_size: int = 0
    tile: int = 0
    overlap: int = -1
    tta: int = 1


def named_models() -> dict[str, LKDNModel]:
    """The networks that have a name, by the label that the loader shows."""
    return {f"{m.name} x{m.scale}": LKDNModel(m.scale, m.name) for m in list_models()}


def model_from_file(path: Path) -> LKDNModel:
    """The LKDN network in a weights file; nothing in it is executed. Raises ``WeightsError``."""
    _, config = read_checkpoint(path)
    status = path.stat()
    return LKDNModel(config.scale, path.stem, path, (status.st_mtime_ns, status.st_size))


def engine_for(model: LKDNModel, options: EngineOptions) -> Upscaler:
    """The engine for ``model``, made on first use. Raises what `Upscaler` does."""
    engine = _engine(model, options)
    engine.renew()
    return engine


@lru_cache(_KEPT)
def _engine(model: LKDNModel, options: EngineOptions) -> Upscaler:
    return Upscaler(
        scale=model.scale,
        model=model.name,
        weights=model.weights,
        denoise=model.denoise,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        tile=options.tile,
        overlap=options.overlap if options.overlap >= 0 else None,
        tta=options.tta,
    )


def engine_device(device: torch.device) -> str:
    """The engine's device for the one ComfyUI computes on: the same if it is CUDA, else the CPU."""
    return str(device) if device.type == "cuda" else "cpu"


class UpscaleModel(nn.Module):
    """An LKDN network as the UPSCALE_MODEL that other nodes use.

    They read what it supports, call it with tiles, and move it in their own ways: ``to``, ``cpu``,
    ``half`` and so on, or ``model``, its weights, through ``patcher``. The call uses neither.
    """

    supports_half = supports_bfloat16 = True  # the call takes any float dtype
    input_channels = output_channels = 3
    patcher: object | None = None  # ComfyUI's; newer versions move ``model`` with it

    def __init__(self, model: LKDNModel) -> None:
        super().__init__()
        weights, config = load_model(
            model.name, model.scale, weights=model.weights, denoise=model.denoise
        )
        self._source = model
        self.scale = config.scale
        self.model = LKDN(config)
        self.model.load_state_dict(weights)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where ``model`` is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What ``model`` is in."""
        return next(self.model.parameters()).dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """Enlarge (N, C, H, W) in [0, 1] to float32 (N, 3, sH, sW).

        Alpha, the channel of RGBA or of gray and alpha, is left out.
        """
        options = EngineOptions(device=engine_device(pixels.device))
        rgb = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
        return engine_for(self._source, options).up(rgb).to(pixels.device)
