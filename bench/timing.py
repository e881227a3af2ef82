"""Compare ways of doing one thing, side by side in one run: medians of CPU time, and ratios."""

import statistics
import sys
import time
from collections.abc import Callable

__all__ = ["compare"]


def compare(ways: dict[str, Callable[[], object]], *, rounds: int = 7) -> None:
    """Run every way once in each round, after one round to warm up, and print a table.

    CPU seconds of the whole process are robust against other work on the machine; wall seconds
    are printed beside them. Ratios are to the first way; above 1 is faster.
    """
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            before = time.process_time(), time.perf_counter()
            way()
            if turn:
                cpu[name].append(time.process_time() - before[0])
                wall[name].append(time.perf_counter() - before[1])
    first = statistics.median(next(iter(cpu.values())))
    sys.stdout.write(f"{'':32}{'CPU s':>9}{'wall s':>9}{'ratio':>8}\n")
    for name in ways:
        spent = statistics.median(cpu[name])
        line = f"{name:32}{spent:9.3f}{statistics.median(wall[name]):9.3f}{first / spent:8.2f}\n"
        sys.stdout.write(line)
