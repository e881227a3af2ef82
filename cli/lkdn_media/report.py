"""A before/after page: one HTML file with a slider over pairs of pictures, and a table."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from string import Template
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Pair", "Row", "render_report"]

#: A row of the table: its name, then what it says of the source and of the new file.
Row = tuple[str, str, str]
#: Longest and shortest side of what is shown; of larger pictures a part is, pixel by pixel.
_LONG, _SHORT = 1280, 720
#: Detail is looked for in blocks of this many pixels a side.
_BLOCK: Final = 8


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one size, (H, W, 3) uint8, and what they show. ``shape``: of a pixel."""

    before: NDArray[Any]
    after: NDArray[Any]
    caption: str
    shape: float = 1.0


def render_report(title: str, rows: Sequence[Row], pairs: Sequence[Pair]) -> str:
    """The page as text; it needs nothing from outside and lets nothing in."""
    table = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(old)}</td><td>{escape(new)}</td></tr>'
        for name, old, new in rows
    )
    figures = "\n".join(_figure(pair, number) for number, pair in enumerate(pairs, 1))
    return _PAGE.substitute(title=escape(title), rows=table, figures=figures)


def _figure(pair: Pair, number: int) -> str:
    top, left, height, width = _window(pair.after)
    part = slice(top, top + height), slice(left, left + width)
    caption = pair.caption
    full_height, full_width = pair.after.shape[:2]
    if (height, width) != (full_height, full_width):
        caption += f" · {width}x{height} of {full_width}x{full_height} pixels"
    label = f"Divider of picture {number}, {pair.caption}: bicubic left of it, LKDN right"
    return _FIGURE.substitute(
        before=_data_uri(pair.before[part]),
        after=_data_uri(pair.after[part]),
        width=width,
        height=height,
        shown=round(width * pair.shape),
        label=escape(label),
        caption=escape(caption),
    )


def _window(picture: NDArray[Any]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part with the most detail that is small enough."""
    height, width = picture.shape[:2]
    tall, wide = (_SHORT, _LONG) if width >= height else (_LONG, _SHORT)
    tall, wide = min(tall, height), min(wide, width)
    if (tall, wide) == (height, width):
        return 0, 0, height, width
    luma = picture.astype(np.float32).mean(2)
    steps = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    rows, columns = steps.shape[0] // _BLOCK, steps.shape[1] // _BLOCK
    blocks = steps[: rows * _BLOCK, : columns * _BLOCK]
    blocks = blocks.reshape(rows, _BLOCK, columns, _BLOCK).sum((1, 3))
    total = np.pad(blocks.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    y, x = min(tall // _BLOCK, rows), min(wide // _BLOCK, columns)
    sums = total[y:, x:] - total[:-y, x:] - total[y:, :-x] + total[:-y, :-x]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return min(int(top) * _BLOCK, height - tall), min(int(left) * _BLOCK, width - wide), tall, wide


def _data_uri(pixels: NDArray[Any]) -> str:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


_FIGURE: Final = Template("""<figure>
<div class="stage" style="--width:${shown}px;aspect-ratio:${shown}/${height}">
<img src="$before" width="$width" height="$height" alt="Enlarged by bicubic interpolation">
<img class="after" src="$after" width="$width" height="$height" alt="Enlarged by LKDN">
<span class="tag left" aria-hidden="true">bicubic</span>
<span class="tag right" aria-hidden="true">LKDN</span>
<span class="line" aria-hidden="true"></span>
<input type="range" min="0" max="100" step="0.5" value="50" aria-label="$label">
</div>
<figcaption>$caption</figcaption>
</figure>""")

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;\
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5d6672; --paper: #f6f7f9;
  --card: #fff; --rule: #dfe3e8; --accent: #0b66d0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa4b2; --paper: #14171b; --card: #1d2126;
    --rule: #333a43; --accent: #6cb2ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1344px; margin: 0 auto; padding: 2rem 2rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { color: var(--soft); margin: 0 0 1.5rem; }
kbd { font: inherit; padding: 0 .35em; border: 1px solid var(--rule); border-radius: 4px;
  background: var(--card); }
table { border-collapse: collapse; margin: 0 0 2rem; background: var(--card);
  border: 1px solid var(--rule); border-radius: 8px; border-spacing: 0; overflow: hidden;
  font-variant-numeric: tabular-nums; display: block; width: fit-content; max-width: 100%;
  overflow-x: auto; }
th, td { text-align: left; padding: .4rem 1.1rem; border-bottom: 1px solid var(--rule); }
tr:last-child > * { border-bottom: 0; }
th[scope=row] { font-weight: 400; color: var(--soft); }
figure { margin: 0 0 2.5rem; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .5rem; }
.stage { --at: 50%; position: relative; width: max(var(--width), min(100%, 640px));
  max-width: 100%; overflow: hidden; border-radius: 8px; background: var(--rule); }
.stage img { position: absolute; inset: 0; width: 100%; height: 100%; display: block;
  user-select: none; }
.after { clip-path: inset(0 0 0 var(--at)); }
.line { position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 0 1px #0006; pointer-events: none; }
.line::after { content: "◂ ▸"; position: absolute; top: 50%; left: 50%;
  transform: translate(-50%, -50%); white-space: nowrap; background: #fff; color: #1c1f24;
  border-radius: 99px; padding: .3rem .55rem; font-size: .75rem; line-height: 1;
  box-shadow: 0 1px 4px #0007; }
.tag { position: absolute; top: .75rem; padding: .1rem .6rem; border-radius: 99px; color: #fff;
  background: #000a; font-size: .8rem; pointer-events: none; }
.left { left: .75rem; }
.right { right: .75rem; }
.stage input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; touch-action: pan-y; }
.stage:focus-within { outline: 3px solid var(--accent); outline-offset: 3px; }
@media (max-width: 40rem) { main { padding: 1.25rem 1rem 3rem; } th, td { padding: .4rem .7rem; } }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p>Drag the divider, or focus a picture with <kbd>Tab</kbd> and move it with <kbd>←</kbd>
<kbd>→</kbd>. Left: the source enlarged by bicubic interpolation. Right: by LKDN.</p>
<table>
<thead><tr><td></td><th scope="col">Source</th><th scope="col">Enlarged</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
$figures
</main>
<script>
for (const input of document.querySelectorAll(".stage input")) {
  const show = () => {
    input.parentElement.style.setProperty("--at", input.value + "%");
    input.setAttribute("aria-valuetext", Math.round(input.value) + "% bicubic");
  };
  input.addEventListener("input", show);
  show();
}
</script>
</body>
</html>
""")
