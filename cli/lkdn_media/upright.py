"""Pictures turned and mirrored as they are to be shown."""

from typing import Any, Final

from numpy.typing import NDArray

from lkdn_media.source import Source
from lkdn_media.targets import PICTURES

__all__ = ["TURNED", "turning", "upright"]

#: Containers that can't say how a picture is shown, and hold RGB, which can be turned exactly.
TURNED: Final = (PICTURES, "gif", "apng")
#: Parts of the names of FFmpeg's filters that turn or mirror.
_FILTERS: Final = ("transpose", "flip", "rotate")


def upright(pixels: NDArray[Any], source: Source) -> NDArray[Any]:
    """``pixels`` (H, W, ...) of ``source`` as they are shown: a view of them."""
    matrix = source.display_matrix
    if matrix is None:
        return pixels
    rows, columns = matrix[4] < 0, matrix[0] < 0
    if source.sideways:
        pixels = pixels.swapaxes(0, 1)
        rows, columns = matrix[1] < 0, matrix[3] < 0
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def turning(source: Source) -> str:
    """FFmpeg's filters that do the same; ``""`` where nothing is to be done.

    Filters that went before may have done it.
    """
    matrix, filter = source.display_matrix, source.ffmpeg_filter
    if matrix is None or (filter is not None and filter.names(*_FILTERS)):
        return ""
    across, down = matrix[1], matrix[3]  # where x and y of the stored picture go
    if source.sideways:
        flip = "_flip" if (across > 0) == (down > 0) else ""
        return f"transpose={'c' if (across > 0) == bool(flip) else ''}clock{flip}"
    return ",".join(["hflip"] * (matrix[0] < 0) + ["vflip"] * (matrix[4] < 0))
