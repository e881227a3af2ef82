"""One picture through the network in every way there is here: our backends, and plain modules."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from lkdn_core import Upscaler
from lkdn_core.arch import LKDN
from lkdn_core.backends import backend_names
from lkdn_core.errors import ArgumentError
from lkdn_core.models import load_model

__all__ = ["Way", "our_ways", "plain_way", "ready"]

#: Enlarges the picture; returns (1, 3, sH, sW) when it is finished.
Way = Callable[[], Tensor]
log = logging.getLogger(__name__)
#: torch.compile takes a minute or more before its first picture.
_SLOW_START: Final = "compile"


def our_ways(
    x: Tensor,
    *,
    model: str,
    scale: int,
    backends: Sequence[str],
    precisions: Sequence[str],
    compiled: bool,
) -> dict[str, Way]:
    """``backends`` in each precision; when empty all that run here, ``compiled`` or without it."""
    names = backends or [name for name in backend_names() if compiled or name != _SLOW_START]
    ways: dict[str, Way] = {}
    for precision in precisions:
        for backend in names:
            try:
                upscaler = Upscaler(
                    scale=scale,
                    model=model,
                    device=str(x.device),
                    precision=precision,
                    backend=backend,
                )
            except ArgumentError as error:
                if backends or not str(error).startswith("backend: "):
                    raise
                log.info("%s", error)
                continue
            ways[f"LKDN suite, {backend}, {precision}"] = ready(upscaler.up, x)
    return ways


def plain_way(x: Tensor, *, model: str, scale: int) -> Way:
    """The modules as they are trained, in float32, without any fusion."""
    weights, config = load_model(model, scale)
    network = LKDN(config).eval().to(x.device)
    network.load_state_dict(weights)
    return ready(network, x)


def ready(network: Callable[[Tensor], Tensor], x: Tensor) -> Way:
    """A way that runs ``network`` on ``x`` and waits for the device."""

    @torch.inference_mode()
    def run() -> Tensor:
        y = network(x)
        if y.device.type == "cuda":
            torch.cuda.synchronize(y.device)
        return y

    return run
