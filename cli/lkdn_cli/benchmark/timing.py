"""Compare ways of doing one thing, side by side in one run: medians of CPU and wall time."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "compare", "matrix_product_rate", "measure"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one run: of all the process's threads together, and by the clock."""

    cpu: float
    wall: float


def measure(
    ways: Mapping[str, Callable[[], object]], *, rounds: int = 7, warm: bool = False
) -> dict[str, Timing]:
    """Medians of ``rounds``, after one round to warm up unless the ways are ``warm``.

    In each round every way runs twice in a row and the second run counts: the way before has left
    its threads spinning, and its data in the caches.
    """
    return {name: _median(times) for name, times in _rounds(ways, rounds, warm).items()}


def compare(ways: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> None:
    """`measure`, and print a table.

    CPU seconds of the whole process are robust against other work on the machine; wall seconds
    are printed beside them. Ratios are the first way's time by that of the way, above 1 is faster:
    medians of the ratios within each round, as machines change their speed from round to round.
    """
    spent = _rounds(ways, rounds, warm=False)
    first = next(iter(spent.values()))
    sys.stdout.write(f"{'':32}{'CPU s':>9}{'ratio':>8}{'wall s':>9}{'ratio':>8}\n")
    for name, times in spent.items():
        middle = _median(times)
        pairs = list(zip(first, times, strict=True))
        cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
        wall = statistics.median(a.wall / b.wall for a, b in pairs)
        sys.stdout.write(f"{name:32}{middle.cpu:9.3f}{cpu:8.2f}{middle.wall:9.3f}{wall:8.2f}\n")


def matrix_product_rate(rounds: int) -> float:
    """Multiply-adds a CPU second of torch's product of two float32 matrices of side 1024."""
    import torch

    one, other = torch.rand(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    spent = measure({"product": lambda: [torch.mm(one, other) for _ in range(4)]}, rounds=rounds)
    return float(4 * 1024**3 / spent["product"].cpu)


def _rounds(
    ways: Mapping[str, Callable[[], object]], rounds: int, warm: bool
) -> dict[str, list[Timing]]:
    spent: dict[str, list[Timing]] = {name: [] for name in ways}
    for turn in range(warm, rounds + 1):
        for name, way in ways.items():
            if turn:
                way()
            cpu, wall = time.process_time(), time.perf_counter()
            way()
            if turn:
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                # Windows counts CPU time in ticks of 16 ms: none for a short run.
                spent[name].append(Timing(cpu or wall, wall))
    return spent


def _median(times: list[Timing]) -> Timing:
    return Timing(statistics.median(t.cpu for t in times), statistics.median(t.wall for t in times))
