import pytest

from lkdn_core.tiling import fit_grid, plan_tiles


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 33)])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 5)])
@pytest.mark.parametrize("overlap", [0, 3, 100])
def test_tiles_cover_the_picture_once(
    size: tuple[int, int], grid: tuple[int, int], overlap: int
) -> None:
    height, width = size
    seen = [[0] * width for _ in range(height)]
    for t in plan_tiles(height, width, rows=grid[0], columns=grid[1], overlap=overlap):
        for y in range(t.top, t.bottom):
            for x in range(t.left, t.right):
                seen[y][x] += 1
        assert 0 <= t.y0 <= t.top <= t.bottom <= t.y1 <= height
        assert t.top - t.y0 == min(overlap, t.top)
        assert t.x1 - t.right == min(overlap, width - t.right)
    assert all(count == 1 for row in seen for count in row)


def test_the_grid_is_the_one_with_the_least_work() -> None:
    height, width, overlap, most = 50, 70, 4, 1000

    def windows(rows: int, columns: int) -> list[int]:
        tiles = plan_tiles(height, width, rows=rows, columns=columns, overlap=overlap)
        return [(t.y1 - t.y0) * (t.x1 - t.x0) for t in tiles]

    grid = fit_grid(height, width, fits=lambda h, w: h * w <= most, overlap=overlap)
    assert grid is not None
    assert max(windows(*grid)) <= most
    grids = [(r, c) for r in range(1, 20) for c in range(1, 20)]
    # Window sizes are bounded from above when a grid is chosen, so allow for one row more.
    possible = [sum(windows(*g)) for g in grids if max(windows(*g)) <= most]
    assert sum(windows(*grid)) <= 1.1 * min(possible)


def at_most_100(height: int, width: int) -> bool:
    return height * width <= 100


def test_small_pictures_are_not_cut() -> None:
    assert fit_grid(10, 10, fits=at_most_100, overlap=63) == (1, 1)


def test_large_pictures_are_planned_with_few_looks() -> None:
    """Memory that grows with the width alone, as on a CPU, never lets rows make up for it."""
    looks: list[int] = []

    def fits(height: int, width: int) -> bool:
        looks.append(width)
        return width <= 3000

    assert fit_grid(20000, 20000, fits=fits, overlap=63) == (1, 7)
    assert len(looks) < 1000


def test_no_room_for_the_overlap_is_none() -> None:
    assert fit_grid(500, 500, fits=at_most_100, overlap=63) is None
