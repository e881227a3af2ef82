"""ComfyUI nodes of the LKDN suite; this folder is a node pack as it stands.

Only `lkdn_comfyui.nodes` and its `widgets` import ComfyUI, so that everything else works and is
tested without it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lkdn_comfyui.nodes import LKDNExtension

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

#: Where ComfyUI finds the help page of each node.
WEB_DIRECTORY = str(Path(__file__).parent / "web")


async def comfy_entrypoint() -> "LKDNExtension":
    """What ComfyUI calls to get the nodes."""
    from lkdn_comfyui.nodes import LKDNExtension

    return LKDNExtension()
