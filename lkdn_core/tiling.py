"""Cut a picture into tiles whose results join without a seam."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

__all__ = ["Tile", "fit_grid", "plan_tiles"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile in input pixels: rows ``top:bottom`` and columns ``left:right`` are its own.

    The network sees the window ``y0:y1, x0:x1``: the tile and its overlap, cut at the picture's
    border. There the zero padding of the window is the picture's own.
    """

    top: int
    bottom: int
    left: int
    right: int
    y0: int
    y1: int
    x0: int
    x1: int

    def inner(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the tile's own pixels in its window enlarged by ``scale``."""
        return (
            slice((self.top - self.y0) * scale, (self.bottom - self.y0) * scale),
            slice((self.left - self.x0) * scale, (self.right - self.x0) * scale),
        )

    def place(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the same pixels in the whole picture enlarged by ``scale``."""
        return (
            slice(self.top * scale, self.bottom * scale),
            slice(self.left * scale, self.right * scale),
        )


def plan_tiles(height: int, width: int, *, rows: int, columns: int, overlap: int) -> list[Tile]:
    """A grid of ``rows`` x ``columns`` tiles of nearly equal size over ``height`` x ``width``.

    With ``overlap`` at least the network's receptive radius the joined result is exact.
    """
    tiles = []
    for top, bottom in _cuts(height, rows):
        y0, y1 = max(0, top - overlap), min(height, bottom + overlap)
        for left, right in _cuts(width, columns):
            x0, x1 = max(0, left - overlap), min(width, right + overlap)
            tiles.append(Tile(top, bottom, left, right, y0, y1, x0, x1))
    return tiles


def fit_grid(
    height: int, width: int, *, fits: Callable[[int, int], bool], overlap: int
) -> tuple[int, int] | None:
    """The grid (rows, columns) with the least work whose windows all fit.

    ``fits(height, width)`` says so of one window; smaller ones are taken to fit then too. ``None``
    if not even tiles of one pixel do, overlap included.
    """
    best: tuple[int, tuple[int, int]] | None = None
    for rows in range(1, height + 1):
        tall = min(height, -(-height // rows) + 2 * overlap)
        columns = _fewest(width, overlap, partial(fits, tall))
        if columns is None:
            continue
        down = _work(height, rows, overlap)
        if best is not None and down * width >= best[0]:
            break  # even without any overlap beside
        work = down * _work(width, columns, overlap)
        if best is None or work < best[0]:
            best = work, (rows, columns)
    return best[1] if best else None


def _fewest(size: int, overlap: int, fits: Callable[[int], bool]) -> int | None:
    """Into how few parts ``size`` must be cut for their windows to fit."""

    def good(parts: int) -> bool:
        return fits(size if parts == 1 else min(size, -(-size // parts) + 2 * overlap))

    if not good(size):
        return None
    low, high = 1, size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle + 1, high)
    return high


def _work(size: int, parts: int, overlap: int) -> int:
    """Length of all windows along one side; a grid's area is the product of its sides."""
    return sum(min(size, b + overlap) - max(0, a - overlap) for a, b in _cuts(size, parts))


def _cuts(size: int, parts: int) -> list[tuple[int, int]]:
    edges = [size * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))
