"""What remembering recent frames saves: a film enlarged with it and without.

python bench/repeats.py screencast.mkv --scale 2 --frames 100
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lkdn_cli.benchmark.timing import compare
from lkdn_core import Upscaler, streaming
from lkdn_core.formats import FrameFormat
from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.plan import make_plan
from lkdn_media.probe import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    plan = make_plan(probe(a.source), Path("larger.mkv"), scale=a.scale, choice=EncoderChoice())
    pictures = islice(decode_pictures(plan.source, Damage(), plan.filters), a.frames)
    frames = [picture.planes for picture in pictures]
    different = len({b"".join(plane.tobytes() for plane in frame) for frame in frames})
    sys.stdout.write(f"{len(frames)} frames, {different} of them different\n")
    upscaler = Upscaler(scale=a.scale)
    ways = {
        f"remembering {n}": enlarging(upscaler, frames, plan.input_format, n) for n in (0, 1, 4)
    }
    compare(ways, rounds=a.rounds)


def enlarging(
    upscaler: Upscaler, frames: Sequence[Any], format: FrameFormat, recent: int
) -> Callable[[], object]:
    def run() -> None:
        streaming.RECENT = recent
        for _ in upscaler.stream(frames, format):
            pass

    return run


if __name__ == "__main__":
    main()
