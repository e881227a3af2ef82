"""What was measured, as data, and as text."""

import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import torch
from torch import Tensor

from lkdn_cli.benchmark.timing import Timing
from lkdn_core import __version__
from lkdn_core.devices import device_name

__all__ = ["about", "add_shares", "describe", "rows", "sweep_text", "table"]

#: dB from which pictures in float32 count as the same.
_EQUAL: Final = 140
_PACKAGES = "torch", "onnxruntime", "openvino", "ncnn"


def about(device: torch.device, threads: int) -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    versions = {"lkdn-suite": __version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    name = device_name(device)
    return {"device": name, "threads": threads if device.type == "cpu" else None} | {
        "versions": versions
    }


def rows(
    timings: Mapping[str, Timing], pictures: Mapping[str, Tensor], *, on_cpu: bool
) -> list[dict[str, Any]]:
    """A row for each way; megapixels are of output.

    Ratios are to the first, of CPU seconds on a CPU, else of wall seconds.

    ``agreement``: PSNR in dB between its picture and the first one's, clipped to [0, 1]; ``None``
    where they are equal. What is not a number is off by all of the range.
    """
    first = next(iter(timings))
    made = []
    for name, timing in timings.items():
        picture = pictures[name]
        spent, base = (t.cpu if on_cpu else t.wall for t in (timing, timings[first]))
        made.append(
            {
                "name": name,
                "cpu_seconds": timing.cpu,
                "seconds": timing.wall,
                "seconds_per_megapixel": spent / (picture.shape[-1] * picture.shape[-2] / 1e6),
                "ratio": base / spent,
                "agreement": _psnr(picture, pictures[first]),
            }
        )
    return made


def add_shares(made: list[dict[str, Any]], multiply_adds: int, peak: float) -> None:
    """``peak_share`` for each row: multiply-adds a CPU second, of the ``peak`` of this machine."""
    for row in made:
        row["peak_share"] = multiply_adds / row["cpu_seconds"] / peak


def describe(document: Mapping[str, Any]) -> str:
    """The line above the tables."""
    threads = f", threads: {document['threads']}" if document["threads"] else ""
    versions = ", ".join(f"{k} {v}" for k, v in document["versions"].items())
    return f"{document['device']}{threads}; {versions}\n"


def table(title: str, made: list[dict[str, Any]]) -> str:
    """Rows as Markdown; with a column for ``peak_share`` where it was measured."""
    shares = any("peak_share" in row for row in made)
    lines = [
        f"\n| {title} | CPU s | wall s | s / megapixel | speed | dB to the first |"
        + shares * " % of GEMM |",
        "|---|---|---|---|---|---|" + shares * "---|",
    ]
    for row in made:
        dB = row["agreement"]
        agreement = "equal" if dB is None or dB > _EQUAL else f"{dB:.1f}"
        lines.append(
            f"| {row['name']} | {row['cpu_seconds']:.3f} | {row['seconds']:.3f} "
            f"| {row['seconds_per_megapixel']:.3f} | {row['ratio']:.2f} | {agreement} |"
            + (f" {100 * row['peak_share']:.0f} |" if shares else "")
        )
    return "\n".join(lines) + "\n"


def sweep_text(made: list[dict[str, Any]]) -> str:
    """Rows of probes as Markdown; megapixels are of output."""
    lines = [
        "\n| input | backend | CPU s | wall s | CPU s / megapixel | peak MB | over idle MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in made:
        pixels = row["width"] * row["height"] * row["scale"] ** 2 / 1e6
        peak, over = row["peak_bytes"] / 1e6, (row["peak_bytes"] - row["idle_bytes"]) / 1e6
        if row["device_bytes"]:
            peak = over = row["device_bytes"] / 1e6
        lines.append(
            f"| {row['width']}x{row['height']} | {row['backend']}, {row['precision']} "
            f"| {row['cpu_seconds']:.2f} | {row['seconds']:.2f} "
            f"| {row['cpu_seconds'] / pixels:.2f} | {peak:.0f} | {over:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _psnr(one: Tensor, other: Tensor) -> float | None:
    a, b = (t.detach().cpu().double().clamp(0, 1) for t in (one, other))
    error = (a - b).square().nan_to_num(1).mean().item()
    return None if error == 0 else 10 * math.log10(1 / error)
