"""Enlarged compressed pictures against their originals, by the networks and as lkdn-image would.

Each picture is reduced with antialiased bicubic, compressed, enlarged, and compared by the paper's
PSNR and SSIM:

python bench/picture_quality.py PICTURE... --format jpg --quality 75 90 --scale 2
"""

import argparse
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lkdn_core import Upscaler
from lkdn_core.evaluate import psnr, ssim
from lkdn_core.models import DEFAULT_MODEL, VIDEO_MODEL
from lkdn_core.quantize import quantize
from lkdn_media.degrade import shrink
from lkdn_media.image_writers import WRITERS, Quality
from lkdn_media.images import Still, read_still
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.stills import enlarge_stills
from lkdn_media.suited_model import suited_to_still

SUITED = "as lkdn-image"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--format", choices=("jpg", "webp", "avif"), default="jpg")
    parser.add_argument("--quality", type=int, nargs="+", default=[75, 90])
    parser.add_argument("--denoise", type=float, nargs="*", default=[])
    arguments = parser.parse_args()
    scale: int = arguments.scale
    networks: dict[str, NetworkChoice | None] = {
        name: NetworkChoice(name) for name in (DEFAULT_MODEL, VIDEO_MODEL)
    }
    networks |= {
        f"denoise {x:g}": NetworkChoice(DEFAULT_MODEL, denoise=x) for x in arguments.denoise
    }
    networks[SUITED] = None

    @cache
    def engine(network: NetworkChoice) -> Upscaler:
        return Upscaler(scale=scale, device="cpu", precision="fp32", **asdict(network))

    originals = [_even(_pixels(read_still(path)), scale) for path in arguments.pictures]
    rows = {name: list[str]() for name in networks}
    for quality in arguments.quality:
        stills = [_compressed(x, scale, arguments.format, quality) for x in originals]
        for name, network in networks.items():
            figures = []
            for still, original in zip(stills, originals, strict=True):
                upscaler = engine(network or suited_to_still(still))
                (new,) = enlarge_stills([still], upscaler, deep=False)
                pair = _pixels(new), original
                figures.append([f(*pair, crop_border=scale) for f in (psnr, ssim)])
            mean = np.mean(figures, axis=0)
            rows[name].append(f"{mean[0]:.2f} / {mean[1]:.4f}")
            print(quality, name, rows[name][-1], flush=True)
    kind = arguments.format.upper()
    print(f"| {kind} x{scale}, PSNR dB / SSIM | {' | '.join(map(str, arguments.quality))} |")
    print("|---" * (len(arguments.quality) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def _compressed(original: Tensor, scale: int, format: str, quality: int) -> Still:
    """``original`` (3, H, W) made small, as it comes back from a file."""
    small = quantize(shrink(original[None] / 255, scale)[0] * 255, bits=8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"a.{format}"
        data = WRITERS[file.suffix].encode(Still(small.permute(1, 2, 0).numpy()), Quality(quality))
        file.write_bytes(data)
        return read_still(file)


def _pixels(still: Still) -> Tensor:
    """(3, H, W) uint8 of a picture, without its transparency."""
    colours = still.pixels[..., : 3 if still.pixels.shape[2] > 2 else 1]
    return torch.from_numpy(np.repeat(colours, 3 // colours.shape[2], 2)).permute(2, 0, 1)


def _even(picture: Tensor, scale: int) -> Tensor:
    height, width = (side - side % scale for side in picture.shape[1:])
    return picture[:, :height, :width]


if __name__ == "__main__":
    main()
