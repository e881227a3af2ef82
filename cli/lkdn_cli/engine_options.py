"""The options of the engine, which several commands share, and the engine they ask for."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lkdn_media.network_choice import NetworkChoice

if TYPE_CHECKING:
    from lkdn_core import Upscaler

__all__ = [
    "add_denoise_option",
    "add_device_option",
    "add_engine_options",
    "add_tta_option",
    "asked_network",
    "check_engine",
    "make_upscaler",
]


def add_engine_options(group: argparse._ArgumentGroup) -> None:
    """Add what `make_upscaler` takes to ``group``; not ``--scale``, of which defaults differ."""
    usually = "lkdn-s, nearer to lkdn-s-video the coarser IN was compressed"
    group.add_argument("--model", help=f"a name from lkdn-models ({usually})")
    group.add_argument("--weights", type=Path, help="a checkpoint of your own instead")
    add_denoise_option(group)
    add_device_option(group)
    group.add_argument("--precision", default="auto", help="auto (default), fp32, fp16 or bf16")
    backends = (
        "what runs it: auto (default), native, triton, torch, compile or reference (triton and "
        "torch: on CUDA, native: on CPUs)"
    )
    group.add_argument("--backend", default="auto", help=backends)
    batch = "pictures of one size at once (0: automatic)"
    group.add_argument("--batch-size", type=int, default=0, help=batch)
    group.add_argument("--tile", type=int, default=0, help="side in pixels of IN (0: automatic)")
    group.add_argument("--overlap", type=int, help="of tiles, in pixels (default: exact)")
    add_tta_option(group)


def add_denoise_option(container: argparse._ActionsContainer) -> None:
    """Add ``--denoise``."""
    between = "from 0, lkdn-s, to 1, lkdn-s-video: smooths noise and blocks"
    container.add_argument("--denoise", type=float, metavar="STRENGTH", help=between)


def add_device_option(container: argparse._ActionsContainer) -> None:
    """Add ``--device``."""
    container.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")


def add_tta_option(container: argparse._ActionsContainer) -> None:
    """Add ``--tta``."""
    positions = "mean over 2, 4 or 8 positions of each picture, as many times the work (default 1)"
    container.add_argument("--tta", type=int, default=1, metavar="N", help=positions)


def check_engine(arguments: argparse.Namespace) -> None:
    """Refuse what the engine would refuse, without loading a network. Raises ``ArgumentError``."""
    from lkdn_core.engine import check_options
    from lkdn_core.models import DEFAULT_MODEL, check_denoise

    model, weights = arguments.model or DEFAULT_MODEL, arguments.weights
    check_denoise(arguments.denoise, model=model, weights=weights)
    check_options(**_options(arguments))


def asked_network(arguments: argparse.Namespace) -> NetworkChoice | None:
    """The network that is asked for, if any is."""
    model, weights, denoise = arguments.model, arguments.weights, arguments.denoise
    if weights is not None or denoise is not None:
        from lkdn_core.models import DEFAULT_MODEL

        model = DEFAULT_MODEL  # not looked at, or the same as the other that is accepted
    return None if model is None else NetworkChoice(model, weights, denoise)


def make_upscaler(arguments: argparse.Namespace, network: NetworkChoice, scale: int) -> "Upscaler":
    """The engine for ``network``, as ``arguments`` ask for it. Raises as `Upscaler` does."""
    from lkdn_core import Upscaler

    return Upscaler(scale=scale, **asdict(network), **_options(arguments))


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("device", "precision", "backend", "batch_size", "tile", "overlap", "tta")
    return {name: getattr(arguments, name) for name in names}
