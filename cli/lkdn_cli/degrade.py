"""``lkdn-degrade``: pairs for training on video, small pictures as codecs leave them."""

import argparse
import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lkdn_cli.console import Parser, run
from lkdn_cli.interrupts import Interrupts

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lkdn_core.training.pack import Picture

__all__ = ["main"]

log = logging.getLogger(__name__)

#: Small pictures with a shorter side than this are passed over: encoders don't take all sizes.
LEAST = 32
#: Frames between two sequences taken from a clip.
STEP = 6
#: Degraded versions of each picture, where nothing else is asked for.
VERSIONS = 4
#: How many of the pictures are packed a second time, softened.
SOFT = 0.5


def main(argv: list[str] | None = None) -> int:
    """Write a pack of degraded pairs; returns the exit code."""
    parser = Parser(
        prog="lkdn-degrade",
        description="Make PACK.json and PACK.bin for lkdn-train --data PACK.json: each picture "
        "beside small versions of it that were blurred, made noisy, and compressed as frames of a "
        "moving sequence by H.264, HEVC, MPEG-2 or JPEG at random rates; half of them once more as "
        "soft pictures. With --versions 0 the pictures alone, decoded once for any number of runs.",
    )
    parser.add_argument("pack", type=Path, metavar="PACK", help="the name of the two files")
    data = "folders of pictures, .tar files of them, or video files (preferably lossless)"
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=data)
    parser.add_argument("--exclude", default="", metavar="GLOB", help="file names to leave out")
    parser.add_argument("--scale", type=int, default=2, help="2, 3 or 4 (default 2)")
    versions = "degraded versions of each picture, 0 for clean data (default 4; 0 with a teacher)"
    parser.add_argument("--versions", type=int, help=versions)
    small = "small pictures of your own beside those of --data, by name: 1.png or 1x4.png for 1.png"
    parser.add_argument("--small", type=Path, metavar="FOLDER", help=small)
    teacher = "a checkpoint: clean small pictures beside what it makes of them, the targets"
    parser.add_argument("--teacher", type=Path, metavar="FILE", help=teacher)
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default 0)")
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite PACK")
    return run(parser, _degrade, argv)


def _degrade(arguments: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from lkdn_core.training.pack import pack_files, packing
    from lkdn_media.degrade import soften

    versions = _check(arguments)
    scale, target = arguments.scale, pack_files(arguments.pack)[1]
    if arguments.small is not None:
        return _pack_pairs(target, arguments.data[0], arguments.small, scale)
    teacher = _teacher(arguments.teacher, scale) if arguments.teacher is not None else None
    alone = not versions and teacher is None  # large pictures, for any scale
    multiple, least = (1, 0) if alone else (2 * scale, LEAST * scale)
    sequences, passed_over = _sequences(arguments.data, arguments.exclude, multiple), 0
    with Interrupts().caught(), packing(target) as packer:
        for number, large in enumerate(tqdm(sequences, unit="picture", disable=None)):
            if min(large.shape[-2:]) < least:
                passed_over += 1
                continue
            if teacher is not None:
                packer.add(*teacher(large))
                continue
            # Numbered, so that a picture's versions don't depend on those before it.
            random = np.random.default_rng([arguments.seed, number])
            pictures = [large]
            if versions and random.random() < SOFT:
                pictures.append(soften(large, random))
            for picture in pictures:
                packer.add(*_pair(picture, scale, versions, random))
        if passed_over:
            log.warning("passed over: %d smaller than %dx%d", passed_over, least, least)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """How many degraded versions to make. Raises ``ArgumentError``."""
    from lkdn_core.arch import SCALES
    from lkdn_core.checks import choose, whole
    from lkdn_core.errors import ArgumentError
    from lkdn_core.training.pack import pack_files
    from lkdn_media.files import check_free

    pack = arguments.pack
    if pack.name.removesuffix(".json") in ("", ".", ".."):
        raise ArgumentError(f"PACK: a name for two files is accepted, got {pack}")
    choose("scale", arguments.scale, SCALES)
    whole("seed", arguments.seed, 0)
    if pack.is_dir():
        raise ArgumentError(f"PACK: a name for two files is accepted, got the folder {pack}")
    for file in pack_files(pack):
        check_free(file, overwrite=arguments.overwrite, argument="PACK")
    if arguments.small is not None and (arguments.exclude or len(arguments.data) > 1):
        raise ArgumentError("small: one folder of --data is accepted with it, and no --exclude")
    others = [name for name in ("small", "teacher") if getattr(arguments, name) is not None]
    if len(others) > 1:
        raise ArgumentError("small: without teacher is accepted, got both")
    versions = arguments.versions
    if others and versions:
        raise ArgumentError(f"versions: 0 is accepted with {others[0]}, got {versions}")
    versions = (0 if others else VERSIONS) if versions is None else versions
    whole("versions", versions, 0)
    return int(versions)


def _pack_pairs(target: Path, large: Path, small: Path, scale: int) -> int:
    """Pack pictures as somebody else made them small."""
    from tqdm import tqdm

    from lkdn_cli.pairs import read_pairs
    from lkdn_core.training.pack import packing

    pairs = tqdm(read_pairs(large, scale, small=small), unit="picture", disable=None)
    with Interrupts().caught(), packing(target) as packer:
        for _, less, more in pairs:
            packer.add(more.numpy(), [less.numpy()])
    return 0


def _pair(
    large: "Tensor", scale: int, versions: int, random: "np.random.Generator"
) -> "tuple[Picture, list[Picture]]":
    """The middle of a sequence, or the only picture, and small versions of it."""
    from lkdn_core.quantize import quantize
    from lkdn_media.degrade import LENGTH, degrade, draw, moving, shrink

    small = []
    for _ in range(versions):
        sequence = large if len(large) == LENGTH else moving(large[0], random)
        small.append(degrade(shrink(sequence, scale), draw(random), random).numpy())
    return quantize(large[len(large) // 2] * 255, bits=8).numpy(), small


def _teacher(weights: Path, scale: int) -> "Callable[[Tensor], tuple[Picture, list[Picture]]]":
    """What makes a pair of a sequence: its middle shrunk, and that as ``weights`` enlarge it."""
    from lkdn_core import Upscaler
    from lkdn_core.quantize import quantize
    from lkdn_media.degrade import shrink

    upscaler = Upscaler(scale=scale, weights=weights)

    def pair(large: "Tensor") -> "tuple[Picture, list[Picture]]":
        middle = len(large) // 2
        small = quantize(shrink(large[middle : middle + 1], scale) * 255, bits=8)
        taught = quantize(upscaler.up(small.float() / 255) * 255, bits=8).cpu()
        return taught[0].numpy(), [small[0].numpy()]

    return pair


def _sequences(sources: list[Path], exclude: str, multiple: int) -> Iterator["Tensor"]:
    """Float pictures (T, 3, H, W) in [0, 1], sides cut to a ``multiple``: T is 1, or LENGTH."""
    import torch

    from lkdn_core.training.pack import read_pictures

    clips = [s for s in sources if s.is_file() and s.suffix != ".tar"]
    still = [s for s in sources if s not in clips]
    for picture in read_pictures(still, exclude=exclude) if still else ():
        yield _cut(torch.from_numpy(picture)[None].float() / 255, multiple)
    for clip in clips:
        yield from _windows(clip, multiple)


def _windows(clip: Path, multiple: int) -> Iterator["Tensor"]:
    import torch

    from lkdn_core.errors import ArgumentError
    from lkdn_media.degrade import LENGTH
    from lkdn_media.pictures import read_clip

    window, count = deque["Tensor"](maxlen=LENGTH), 0
    for count, frame in enumerate(read_clip(clip), 1):
        window.append(_cut(frame, multiple))
        if count >= LENGTH and (count - LENGTH) % STEP == 0:
            yield torch.cat([*window])
    if count < LENGTH:
        raise ArgumentError(
            f"data: videos from {LENGTH} frames are accepted, and folders of pictures, "
            f"{clip} has {count}"
        )


def _cut(pictures: "Tensor", multiple: int) -> "Tensor":
    height, width = (side - side % multiple for side in pictures.shape[-2:])
    return pictures[..., :height, :width]
