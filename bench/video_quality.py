"""Enlarged compressed video against its original: PSNR and SSIM on luma, and VMAF.

Each clip is reduced with antialiased bicubic, compressed, decoded, enlarged, and compared; also as
lkdn-video enlarges it where no network is named:

python bench/video_quality.py CLIP... --crf 23 32 --models lkdn-s lkdn-s-video
"""

import argparse
import gc
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from av.filter import Graph
from PIL import Image
from torch import Tensor

from lkdn_core import Upscaler
from lkdn_core.color import from_rgb
from lkdn_core.evaluate import psnr, ssim
from lkdn_core.models import DEFAULT_MODEL
from lkdn_core.resize import resize
from lkdn_media.compress import CODECS, VIDEO_FORMAT, compress
from lkdn_media.degrade import shrink
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.pictures import read_clip
from lkdn_media.probe import probe
from lkdn_media.suited_model import suited_model

SUITED = "none named"
Enlarge = Callable[[Tensor], Tensor]  # (3, h, w) to (3, sh, sw), float RGB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--codec", choices=("libx264", "libx265"), default="libx264")
    parser.add_argument("--crf", nargs="+", default=["23", "32"])
    parser.add_argument("--models", nargs="*", default=["lkdn-s"], help="names, or weights files")
    between = "networks between lkdn-s and lkdn-s-video"
    parser.add_argument("--denoise", type=float, nargs="*", default=[], help=between)
    parser.add_argument("--frames", type=int, default=None, help="of each clip (default all)")
    parser.add_argument("--json", type=Path, help="write the figures of every clip there")
    arguments = parser.parse_args()
    methods = _methods(arguments.models, arguments.denoise, arguments.scale)
    rows = []
    for crf in arguments.crf:
        options = {"crf": crf, "preset": "medium"}
        for clip in arguments.clips:
            frames = [*islice(read_clip(clip), arguments.frames)]
            original = _even(torch.cat(frames), arguments.scale)
            small = compress(
                shrink(original, arguments.scale), codec=arguments.codec, options=options
            )
            suited = _suited(shrink(original, arguments.scale), arguments.codec, options)
            for name, enlarge in [*methods.items(), (SUITED, _network(arguments.scale, suited))]:
                figures = compare(original, [enlarge(picture) for picture in small])
                rows.append({"clip": clip.stem, "crf": crf, "method": name} | figures)
                print(rows[-1], flush=True)
    print(_table(rows, [*methods, SUITED], arguments.crf, CODECS[arguments.codec].upper()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def _methods(models: list[str], strengths: list[float], scale: int) -> dict[str, Enlarge]:
    def bicubic(picture: Tensor) -> Tensor:
        return resize(picture, *(side * scale for side in picture.shape[1:]))

    def lanczos(picture: Tensor) -> Tensor:
        size = picture.shape[2] * scale, picture.shape[1] * scale
        planes = [
            Image.fromarray(p.numpy()).resize(size, Image.Resampling.LANCZOS) for p in picture
        ]
        return torch.from_numpy(np.stack([np.asarray(p) for p in planes]))

    networks = {"bicubic": bicubic, "Lanczos": lanczos}
    for model in models:
        if Path(model).is_file():
            networks[Path(model).stem] = _network(scale, NetworkChoice(DEFAULT_MODEL, Path(model)))
        else:
            networks[model] = _network(scale, NetworkChoice(model))
    between = {f"denoise {x:g}": NetworkChoice(DEFAULT_MODEL, denoise=x) for x in strengths}
    return networks | {name: _network(scale, network) for name, network in between.items()}


@cache
def _network(scale: int, network: NetworkChoice) -> Enlarge:
    upscaler = Upscaler(scale=scale, device="cpu", precision="fp32", **asdict(network))
    return lambda picture: upscaler.up(picture[None])[0]


def _suited(pictures: Tensor, codec: str, options: dict[str, str]) -> NetworkChoice:
    """What lkdn-video takes for RGB ``pictures`` (T, 3, H, W) in a file."""
    planes = from_rgb(pictures, VIDEO_FORMAT)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.mkv"
        with av.open(str(file), "w") as out:
            stream = out.add_stream(codec, rate=25, options=options)
            stream.height, stream.width = pictures.shape[2:]
            for number in range(len(pictures)):
                out.mux(stream.encode(_frame(planes, number)))
            out.mux(stream.encode(None))
        return suited_model(probe(file))


def compare(original: Tensor, enlarged: list[Tensor]) -> dict[str, float]:
    """Mean figures of ``enlarged`` RGB frames against ``original`` (T, 3, H, W), as 4:2:0 video."""
    a, b = (from_rgb(x, VIDEO_FORMAT) for x in (torch.stack(enlarged), original))
    pairs = [(x[None], y[None]) for x, y in zip(a[0], b[0], strict=True)]
    return {
        "psnr": float(np.mean([psnr(x, y, crop_border=2) for x, y in pairs])),
        "ssim": float(np.mean([ssim(x, y, crop_border=2) for x, y in pairs])),
        "vmaf": vmaf(a, b),
    }


def vmaf(distorted: list[Tensor], reference: list[Tensor]) -> float:
    """Mean VMAF (libvmaf's default model) of 4:2:0 planes, each (T, h, w)."""
    _, height, width = reference[0].shape
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "vmaf.json"
        graph = Graph()
        buffers = [
            graph.add_buffer(
                width=width, height=height, format="yuv420p", time_base=Fraction(1, 25), name=name
            )
            for name in ("distorted", "reference")
        ]
        judge = graph.add("libvmaf", log_path=str(log), log_fmt="json", n_threads="1")
        sink = graph.add("buffersink")
        for i, buffer in enumerate(buffers):
            buffer.link_to(judge, 0, i)
        judge.link_to(sink)
        graph.configure()
        for i in range(len(reference[0])):
            for buffer, planes in zip(buffers, (distorted, reference), strict=True):
                buffer.push(_frame(planes, i))
            with suppress(av.BlockingIOError):
                sink.pull()
        for buffer in buffers:
            buffer.push(None)
        with suppress(av.EOFError):
            while True:
                sink.pull()
        # libvmaf writes its log when the last reference to the graph goes.
        del graph, buffers, buffer, judge, sink
        gc.collect()
        return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


def _frame(planes: list[Tensor], number: int) -> av.VideoFrame:
    frame = av.VideoFrame(planes[0].shape[2], planes[0].shape[1], "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        rows[:, : plane.width] = values[number].numpy()
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def _even(pictures: Tensor, scale: int) -> Tensor:
    height, width = (side - side % (2 * scale) for side in pictures.shape[2:])
    return pictures[..., :height, :width]


def _table(rows: list[dict[str, object]], methods: list[str], rates: list[str], codec: str) -> str:
    """Means over the clips in Markdown; every clip counts alike."""
    lines = [f"| {codec}, PSNR dB / SSIM / VMAF | " + " | ".join(f"crf {r}" for r in rates) + " |"]
    lines.append("|---" * (len(rates) + 1) + "|")
    for method in methods:
        cells = []
        for rate in rates:
            same = [r for r in rows if (r["method"], r["crf"]) == (method, rate)]
            mean = {k: np.mean([r[k] for r in same]) for k in ("psnr", "ssim", "vmaf")}
            cells.append(f"{mean['psnr']:.2f} / {mean['ssim']:.4f} / {mean['vmaf']:.1f}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
