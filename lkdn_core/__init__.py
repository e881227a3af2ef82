"""Super-resolution with the Large Kernel Distillation Network (LKDN, CVPRW 2023).

The engine every front end shares. Names load on first use, so that importing the package (for a
command's ``--help``, say) does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lkdn_core.engine import Upscaler
    from lkdn_core.errors import LKDNError
    from lkdn_core.formats import FrameFormat
    from lkdn_core.models import list_models, load_model

__all__ = ["FrameFormat", "LKDNError", "Upscaler", "__version__", "list_models", "load_model"]
__version__ = "0.1.0"

_HOMES = {
    "FrameFormat": "formats",
    "LKDNError": "errors",
    "Upscaler": "engine",
    "list_models": "models",
    "load_model": "models",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
