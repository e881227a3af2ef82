"""What the descriptions of the nodes share: form, widgets, the socket for a network."""

from typing import Any, Final

from comfy_api.latest import io

from lkdn_comfyui.video import CODECS
from lkdn_core.ensemble import POSITIONS
from lkdn_core.prepare import DTYPES

__all__ = [
    "AS_NAMED",
    "ModelSocket",
    "denoise_input",
    "file_inputs",
    "model_input",
    "schema",
    "tta_input",
    "work_inputs",
]

#: Where the nodes are in ComfyUI's menu.
_CATEGORY: Final = "LKDN"
#: The strength of smoothing that the name of a network stands for.
AS_NAMED: Final = -1.0
ModelSocket = io.Custom("LKDN_MODEL")


def schema(
    node_id: str,
    display_name: str,
    description: str,
    *,
    inputs: list[Any],
    outputs: list[Any],
    aliases: list[str],
) -> io.Schema:
    """A node's description; ``aliases`` are what else people search for."""
    made = io.Schema(
        node_id=node_id,
        display_name=display_name,
        category=_CATEGORY,
        description=description,
        inputs=inputs,
        outputs=outputs,
    )
    if hasattr(made, "search_aliases"):  # not in older versions
        made.search_aliases = aliases
    return made


def work_inputs() -> list[Any]:
    """The widgets that images and videos share."""
    return [
        io.Int.Input(
            "scale",
            default=4,
            min=2,
            max=4,
            tooltip="How many times larger. A connected model brings its own scale instead.",
        ),
        io.Int.Input(
            "batch_size",
            default=0,
            min=0,
            max=256,
            tooltip="Pictures in work at once; 0 chooses by size and free memory.",
        ),
        io.Int.Input(
            "tile",
            default=0,
            min=0,
            max=8192,
            step=8,
            tooltip="Side of a tile in input pixels; 0 tiles only when memory asks for it.",
        ),
        io.Int.Input(
            "overlap",
            default=-1,
            min=-1,
            max=256,
            tooltip="Input pixels that a tile sees beyond its border; -1 makes tiles invisible.",
        ),
        io.Combo.Input(
            "precision",
            options=["auto", *DTYPES],
            default="auto",
            tooltip="auto: fp16 on a GPU, fp32 on a CPU.",
        ),
    ]


def tta_input() -> Any:
    """The widget for a mean over several positions.

    Saved graphs count widgets: what is younger comes after it.
    """
    return io.Combo.Input(
        "tta",
        options=[str(count) for count in POSITIONS],
        default="1",
        optional=True,
        tooltip="Mean over so many positions of each picture: finer, at as many times the cost.",
    )


def denoise_input() -> Any:
    """The widget for a network between two."""
    return io.Float.Input(
        "denoise",
        default=AS_NAMED,
        min=AS_NAMED,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="How much of blocks, ringing and noise is smoothed: from 0, lkdn-s, to 1, "
        "lkdn-s-video, for either of them. Below 0: as the name says.",
    )


def file_inputs() -> list[Any]:
    """The widgets for what a video is written as."""
    return [
        io.Combo.Input(
            "codec",
            options=["auto", *CODECS],
            default="auto",
            optional=True,
            tooltip="auto: h264 for colour of 8 bits, hevc for deeper one and for gray.",
        ),
        io.Int.Input(
            "crf",
            default=-1,
            min=-1,
            max=63,
            optional=True,
            tooltip="Quality: smaller is better, and larger in bytes. -1: nearly lossless to the "
            "eye, 17 to 22 by codec.",
        ),
        io.Int.Input(
            "height",
            default=0,
            min=0,
            max=8192,
            optional=True,
            tooltip="Height of the result in pixels, its width in proportion; 0: as scale says.",
        ),
    ]


def model_input(usually: str = "lkdn-s of the chosen scale is used") -> Any:
    """The socket for a network; ``usually``: what is used when nothing is linked."""
    return ModelSocket.Input(
        "model",
        optional=True,
        tooltip=f"From Load LKDN Model; without one, {usually}.",
    )
