"""``lkdn-evaluate``: PSNR and SSIM by the paper's protocol on a folder of pictures."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lkdn_cli.console import Parser, run

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Evaluate a model beside bicubic; returns the exit code."""
    parser = Parser(
        prog="lkdn-evaluate",
        description="PSNR and SSIM on luma, borders of SCALE pixels cropped, 8 bits. FOLDER holds "
        "high-resolution pictures (the small ones are made by MATLAB's bicubic), or pairs named "
        "NAME_HR.png and NAME_LR.png.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--scale", type=int, default=4, help="2, 3 or 4 (default 4)")
    parser.add_argument("--model", default="lkdn-s", help="a name from lkdn-models")
    parser.add_argument("--weights", type=Path, help="a checkpoint of your own instead")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    parser.add_argument("--backend", default="auto", help="auto, reference, ... (README)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return run(parser, _evaluate, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from lkdn_core import Upscaler
    from lkdn_core.evaluate import psnr, ssim
    from lkdn_core.quantize import quantize
    from lkdn_core.resize import resize

    scale = arguments.scale
    upscaler = Upscaler(
        scale=scale,
        model=arguments.model,
        weights=arguments.weights,
        device=arguments.device,
        precision=arguments.precision,
        backend=arguments.backend,
    )
    rows = []
    pairs = list(_pair_files(arguments.folder))
    for name, small_file, large_file in tqdm(pairs, unit="picture", disable=None):
        large = _read(large_file)
        small = _read(small_file) if small_file else _shrink(large, scale)
        large = large[:, : small.shape[1] * scale, : small.shape[2] * scale]
        bicubic = quantize(resize(small.double(), *large.shape[1:]), bits=8)
        ours = quantize(upscaler.up(small[None].float() / 255)[0].cpu() * 255, bits=8)
        row: dict[str, str | float] = {"picture": name}
        for method, picture in (("bicubic", bicubic), ("model", ours)):
            row[f"{method}_psnr"] = psnr(picture, large, crop_border=scale)
            row[f"{method}_ssim"] = ssim(picture, large, crop_border=scale)
        rows.append(row)
    rows.append(_mean(rows))
    sys.stdout.write(json.dumps(rows, indent=1) + "\n" if arguments.json else _table(rows))
    return 0


def _pair_files(folder: Path) -> Iterator[tuple[str, Path | None, Path]]:
    """``(name, small or None, large)`` for every picture, by name."""
    from lkdn_core.errors import ArgumentError

    kinds = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
    if not folder.is_dir():
        raise ArgumentError(f"FOLDER: a folder of pictures is accepted, got {folder}")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in kinds)
    pairs = [p for p in files if re.search(r"_HR$", p.stem)]
    for file in pairs or files:
        small = file.with_name(re.sub(r"_HR$", "_LR", file.stem) + file.suffix) if pairs else None
        if small is not None and not small.is_file():
            raise ArgumentError(f"FOLDER: {file.name} has no partner {small.name}")
        yield file.stem.removesuffix("_HR"), small, file
    if not files:
        raise ArgumentError(f"FOLDER: {folder} holds no pictures")


def _read(file: Path) -> "Tensor":
    """An 8-bit RGB picture (3, H, W)."""
    import numpy as np
    import torch
    from PIL import Image

    from lkdn_core.errors import FormatError

    try:
        with Image.open(file) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"{file} is not a picture that can be read: {error}") from error


def _shrink(large: "Tensor", scale: int) -> "Tensor":
    """The low-resolution picture the paper's protocol makes: MATLAB bicubic, 8 bits."""
    from lkdn_core.quantize import quantize
    from lkdn_core.resize import resize

    height, width = large.shape[1] // scale, large.shape[2] // scale
    cut = large[:, : height * scale, : width * scale]
    return quantize(resize(cut.double(), height, width), bits=8)


def _mean(rows: list[dict[str, str | float]]) -> dict[str, str | float]:
    names = [k for k in rows[0] if k != "picture"]
    means = {k: sum(float(r[k]) for r in rows) / len(rows) for k in names}
    return {"picture": "mean", **means}


def _table(rows: list[dict[str, str | float]]) -> str:
    lines = [f"{'picture':24}{'bicubic':>18}{'model':>18}   PSNR dB / SSIM"]
    for row in rows:
        cells = [f"{row[f'{m}_psnr']:.3f} / {row[f'{m}_ssim']:.4f}" for m in ("bicubic", "model")]
        lines.append(f"{row['picture']:24}{cells[0]:>18}{cells[1]:>18}")
    return "\n".join(lines) + "\n"
