"""How large a tile each kernel takes and how many warps work on it, by GPU architecture.

A fixed table: nothing is tried out at run time. ``bench/gpu.py --sweep`` measures candidates.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["TILES", "Tile", "tiles_for"]


@dataclass(frozen=True, slots=True)
class Tile:
    """``columns`` of four rows, worked on by ``warps`` warps."""

    columns: int
    warps: int


_HOPPER: Final = {
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
#: Weights of a product lie in registers there, and the largest kernels would spill.
_AMPERE: Final = _HOPPER | {"join": Tile(32, 4), "attend": Tile(32, 4)}
#: By compute capability (major, minor): Ampere, Ada, Hopper.
TILES: Final = {(8, 0): _AMPERE, (8, 9): _AMPERE, (9, 0): _HOPPER}


def tiles_for(capability: tuple[int, int]) -> dict[str, Tile]:
    """The row of the newest known architecture that is not newer than ``capability``."""
    known = [row for row in TILES if row <= capability]
    return TILES[max(known, default=min(TILES))]
