"""How large a tile each kernel takes and how many warps work on it.

Fixed: nothing is tried out at run time. ``bench/gpu_tiles.py`` checks and times candidates.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["TILES", "Tile"]


@dataclass(frozen=True, slots=True)
class Tile:
    """``columns`` of four rows, worked on by ``warps`` warps."""

    columns: int
    warps: int


#: 64 columns make Hopper's WGMMA of a product. There "attend" is wrong, and may read outside of
#: memory: ptxas 12.8.93, which Triton 3.6 brings, builds one of its descriptors from a register
#: that holds the width. Only networks of several blocks show it.
TILES: Final = {
    "head": Tile(32, 4),
    "refine": Tile(32, 4),
    "narrow": Tile(32, 4),
    "join": Tile(32, 4),
    "local": Tile(32, 4),
    "attend": Tile(32, 4),
    "gather": Tile(32, 4),
    "residual": Tile(32, 4),
    "upsample": Tile(32, 4),
}
