"""This folder as a node pack: link it into ComfyUI's ``custom_nodes``.

Works with the suite installed in ComfyUI's Python, or, for its developers, from the checkout.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]
for _folder, _package in (
    (_CHECKOUT, "lkdn_core"),
    (_CHECKOUT / "cli", "lkdn_media"),
    (_HERE, "lkdn_comfyui"),
):
    _found = find_spec(_package)
    if _found is None or _found.origin is None:  # not there, or what an uninstall left of it
        sys.path.append(str(_folder))

from lkdn_comfyui import WEB_DIRECTORY, comfy_entrypoint  # noqa: E402

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
