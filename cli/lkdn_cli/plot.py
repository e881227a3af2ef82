"""Curves of training runs, the scatter of models, and what a bench found, as PNG files."""

import csv
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lkdn_core.errors import LKDNError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_bench", "plot_curve", "plot_scatter", "require"]


_MARKERS: Final = "osD^vph"


def require(target: Path | None = None, *, overwrite: bool = False) -> None:
    """Raise ``LKDNError`` if nothing can be drawn here, or not into ``target``.

    ``ArgumentError`` where that is there already.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise LKDNError("drawing needs matplotlib: pip install matplotlib") from error
    if target is not None:
        from lkdn_media.files import check_free, check_place

        check_free(target, overwrite=overwrite, argument="plot")
        check_place("plot", target)


def plot_curve(log: Path, target: Path) -> None:
    """Draw the curve of a run, its ``log.csv``: the loss, and PSNR where it was measured."""
    figure, curve = _figure(), _read(log)
    names = [name for name in ("loss", "psnr") if name in curve]
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        axes.plot(curve["step"], curve[name], label=log.parent.name)
        axes.set_xlabel("steps")
        axes.set_ylabel({"loss": "training loss", "psnr": "PSNR in dB"}[name])
        axes.grid(alpha=0.3)
        axes.legend()
    figure.axes[0].set_yscale("log")
    _save(figure, target)


def plot_scatter(points: Iterable[tuple[str, float, float]], baseline: float, target: Path) -> None:
    """Draw models by name, multiply-adds and PSNR, over the line of bicubic at ``baseline``."""
    figure = _figure()
    axes = figure.subplots()
    for i, (name, multiply_adds, psnr) in enumerate(points):
        axes.plot(
            multiply_adds / 1e9,
            psnr,
            _MARKERS[i % len(_MARKERS)],
            label=name,
            # Rings of rising size: models of equal cost and quality stay visible.
            fillstyle="none",
            markersize=7 + 3 * i,
            markeredgewidth=1.5,
        )
    axes.axhline(baseline, linestyle=":", color="gray", label="bicubic")
    axes.margins(0.15)
    axes.set_xlabel("multiply-adds in G, for an output of 1280x720")
    axes.set_ylabel("PSNR in dB")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", labelspacing=1.2)
    _save(figure, target)


def plot_bench(document: Mapping[str, Any], target: Path) -> None:
    """Draw what ``lkdn-bench --json`` prints: bars of time, curves of time and memory."""
    figure = _figure()
    bars = [document["ways"]["rows"]] if "ways" in document else []
    bars += [document["table4"]] if "table4" in document else []
    curves = ("cpu_seconds", "peak_bytes") if "sweep" in document else ()
    panels = figure.subplots(len(bars) + len(curves), 1, squeeze=False)[:, 0]
    for axes, rows in zip(panels, bars, strict=False):
        names = [row["name"] for row in reversed(rows)]
        axes.barh(names, [row["seconds_per_megapixel"] for row in reversed(rows)])
        axes.set_xlabel("seconds per megapixel of output")
    for axes, field in zip(panels[len(bars) :], curves, strict=True):
        _sweep_curves(axes, document["sweep"], field)
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.suptitle(document["device"], fontsize="small")
    _save(figure, target)


def _sweep_curves(axes: "Axes", rows: list[dict[str, Any]], field: str) -> None:
    """``field`` of each row against its pixels, a line for each way."""
    unit = 1e-9 if field == "peak_bytes" else 1
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        line = lines.setdefault(f"{row['backend']}, {row['precision']}", [])
        line.append((row["width"] * row["height"] / 1e6, row[field] * unit))
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.set_xlabel("megapixels of input")
    axes.set_ylabel("peak memory in GB" if field == "peak_bytes" else "CPU seconds a frame")
    axes.set_ylim(bottom=0)
    axes.legend()


def _figure() -> "Figure":
    require()
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 6), layout="constrained")


def _save(figure: "Figure", target: Path) -> None:
    from lkdn_media.files import followed, write_whole

    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_whole(followed(target), picture.getvalue(), overwrite=True)


def _read(file: Path) -> dict[str, list[float]]:
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}
