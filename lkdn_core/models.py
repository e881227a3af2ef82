"""The table of models: which weights a name and a scale stand for, and how to get them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from lkdn_core.arch import LKDNConfig
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.download import cached_download, find_cached
from lkdn_core.errors import ArgumentError
from lkdn_core.fuse import Weights

__all__ = [
    "DEFAULT_MODEL",
    "VIDEO_MODEL",
    "WEIGHTS_FOLDER",
    "Model",
    "check_denoise",
    "find_model",
    "list_models",
    "load_model",
]

DEFAULT_MODEL: Final = "lkdn-s"
#: Smooths what codecs leave. Trained from the default one as it is now, or nearly so: weights
#: between those of the two are networks between the two.
VIDEO_MODEL: Final = "lkdn-s-video"
WEIGHTS_FOLDER: Final = Path(__file__).parent / "weights"
#: The authors' MIT-licensed weights, at one commit of their repository.
OFFICIAL_URL: Final = (
    "https://github.com/stella-von/LKDN/raw/54df78a491142c2503d9738192b767ceced4d1a1"
    "/experiments/pretrained_models/LKDN/"
)


@dataclass(frozen=True, slots=True)
class Model:
    """One set of weights. ``sha256`` and ``size`` (bytes) are set for files that are downloaded."""

    name: str
    scale: int
    file: str
    sha256: str = ""
    size: int = 0

    @property
    def bundled(self) -> bool:
        """Whether the weights ship in this package."""
        return not self.sha256

    def at_hand(self) -> bool:
        """Whether `path` needs no download."""
        url = OFFICIAL_URL + self.file
        return self.bundled or find_cached(url, sha256=self.sha256) is not None

    def path(self) -> Path:
        """Where the file lies, downloading it if need be. Raises ``DownloadError``."""
        if self.bundled:
            return WEIGHTS_FOLDER / self.file
        return cached_download(OFFICIAL_URL + self.file, sha256=self.sha256, size=self.size)


def _bundled() -> tuple[Model, ...]:
    """One model for each file NAME-xSCALE.safetensors that ships, the default one first."""
    files = sorted(WEIGHTS_FOLDER.glob("*-x[234].safetensors"))
    models = [Model(f.stem[:-3], int(f.stem[-1]), f.name) for f in files]
    return tuple(sorted(models, key=lambda m: m.name != DEFAULT_MODEL))


_MODELS: Final = (
    *_bundled(),
    Model(
        "official-lkdn",
        2,
        "LKDN_x2.pth",
        "02b429e795ad0863fdf21c6924c79344e30a39d637c44442d13124193b012e6b",
        2579929,
    ),
    Model(
        "official-lkdn",
        3,
        "LKDN_x3.pth",
        "52835d49d402683ea2085c13e4afc3aca49f6b806ea29d6ed29b2238cd7874c5",
        2640473,
    ),
    Model(
        "official-lkdn",
        4,
        "LKDN_x4.pth",
        "f534422583c99dad994fd7df897f6f872637218430cfedf6c2d2a072ea86dbd7",
        2725465,
    ),
    Model(
        "official-lkdn-s",
        4,
        "LKDN-S_x4.pth",
        "39ff2c69cdeb40f842c9f93368caee3323a4309c350373edeb2dc9ef3cc05851",
        1494129,
    ),
    Model(
        "official-lkdn-s-fused",
        4,
        "LKDN-S_del_rep_x4.pth",
        "b802a3945d7d4f22f836668a78448b37fe5da90d7b08afc564fbddfa594a8cf1",
        559105,
    ),
)


def list_models() -> tuple[Model, ...]:
    """Every model by name and scale, the bundled ones first."""
    return _MODELS


def load_model(
    model: str = DEFAULT_MODEL,
    scale: int = 4,
    *,
    weights: str | Path | None = None,
    denoise: float | None = None,
) -> tuple[Weights, LKDNConfig]:
    """Weights in the layout of the authors' checkpoints, and the network they fit.

    ``weights``: a file of the user's own, whose scale must be ``scale``; ``model`` is not looked
    at then. ``denoise``: from 0, ``DEFAULT_MODEL``, to 1, ``VIDEO_MODEL``, which ``model`` must be
    one of: the weights between theirs (as of Wang et al., Deep Network Interpolation, CVPR 2019).
    Raises ``ArgumentError``, ``WeightsError`` or ``DownloadError``.
    """
    if denoise is not None:
        check_denoise(denoise, model=model, weights=weights)
        sharp, config = load_model(DEFAULT_MODEL, scale)
        smooth, _ = load_model(VIDEO_MODEL, scale)
        return {k: torch.lerp(v, smooth[k], denoise) for k, v in sharp.items()}, config
    if weights is not None:
        loaded, config = read_checkpoint(weights)
        if config.scale != scale:
            raise ArgumentError(f"scale: {weights} is a x{config.scale} network, got {scale}")
        return loaded, config
    return read_checkpoint(find_model(model, scale).path())


def check_denoise(
    denoise: float | None, *, model: str = DEFAULT_MODEL, weights: str | Path | None = None
) -> None:
    """Raise the ``ArgumentError`` that `load_model` would, without any weights."""
    if denoise is None:
        return
    if isinstance(denoise, bool) or not (isinstance(denoise, int | float) and 0 <= denoise <= 1):
        raise ArgumentError(f"denoise: a number from 0 to 1 is accepted, got {denoise!r}")
    if weights is not None or model not in (DEFAULT_MODEL, VIDEO_MODEL):
        between = f"{DEFAULT_MODEL} and {VIDEO_MODEL}"
        got = model if weights is None else weights
        raise ArgumentError(f"denoise: is between {between}, with no other network, got {got}")


def find_model(model: str, scale: int) -> Model:
    """The one of that name and scale. Raises ``ArgumentError``."""
    named = [m for m in _MODELS if m.name == model]
    if not named:
        names = ", ".join(dict.fromkeys(m.name for m in _MODELS))
        raise ArgumentError(f"model: one of {names} is accepted, got {model!r}")
    for entry in named:
        if entry.scale == scale:
            return entry
    scales = ", ".join(str(m.scale) for m in named)
    raise ArgumentError(f"scale: {model} has {scales}, got {scale!r}")
