"""Compare ways of doing one thing, side by side in one run: medians of CPU and wall time."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "compare", "measure"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds of one run: of all the process's threads together, and by the clock."""

    cpu: float
    wall: float


def measure(
    ways: Mapping[str, Callable[[], object]], *, rounds: int = 7, warm: bool = False
) -> dict[str, Timing]:
    """Run every way once in each round, after one round to warm up unless they are ``warm``."""
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm, rounds + 1):
        for name, way in ways.items():
            before = time.process_time(), time.perf_counter()
            way()
            if turn:
                cpu[name].append(time.process_time() - before[0])
                wall[name].append(time.perf_counter() - before[1])
    median = statistics.median
    return {name: Timing(median(cpu[name]), median(wall[name])) for name in ways}


def compare(ways: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> None:
    """`measure`, and print a table.

    CPU seconds of the whole process are robust against other work on the machine; wall seconds
    are printed beside them. Ratios are to the first way; above 1 is faster.
    """
    timings = measure(ways, rounds=rounds)
    first = next(iter(timings.values())).cpu
    sys.stdout.write(f"{'':32}{'CPU s':>9}{'wall s':>9}{'ratio':>8}\n")
    for name, timing in timings.items():
        ratio = first / timing.cpu
        sys.stdout.write(f"{name:32}{timing.cpu:9.3f}{timing.wall:9.3f}{ratio:8.2f}\n")
