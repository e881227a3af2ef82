"""Peak memory of ``lkdn-video``'s pipeline against the length of the video, which must not matter.

    python bench/memory.py --minutes 1 10 --fps 5

Each length runs in a process of its own: 1080p to 2160p in segments, with a network that only
repeats samples and a fast encoder. Content hardly changes, so that time goes by quickly.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from pipeline import SCALE, PlaneRepeater, in_segments

from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.plan import make_plan
from lkdn_media.probe import probe
from lkdn_media.segmented import segment_length

SIZE = 1920, 1080


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)  # of one measured process
    a = parser.parse_args()
    if a.source is not None:
        measure(a.source)
        return
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(
            f"{'minutes':>8}{'frames':>8}{'segments':>10}{'peak MiB':>10}{'wall s':>8}\n"
        )
        for minutes in a.minutes:
            frames = round(minutes * 60 * a.fps)
            source = make_source(Path(folder) / f"{frames}.mkv", frames, a.fps)
            command = [sys.executable, __file__, "--source", str(source)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            got = json.loads(said)
            sys.stdout.write(
                f"{minutes:8g}{frames:8}{got['segments']:10}{got['peak']:10.0f}{got['wall']:8.0f}\n"
            )
            sys.stdout.flush()


def measure(source: Path) -> None:
    """Enlarge ``source`` in this process and print what it took."""
    target = source.with_suffix(".out.mkv")
    choice = EncoderChoice(codec="libx264", crf=30.0, preset="ultrafast")
    plan = make_plan(probe(source), target, scale=SCALE, choice=choice)
    length = segment_length(plan, device="cpu")
    started = time.monotonic()
    in_segments(plan, target, PlaneRepeater(scale=SCALE, device="cpu", backend="reference"), length)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    segments = -(-plan.source.frames // length)
    wall = time.monotonic() - started
    sys.stdout.write(json.dumps({"segments": segments, "peak": peak, "wall": wall}))


def make_source(path: Path, frames: int, fps: int) -> Path:
    """A gradient with a bar that moves."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    luma = (16 + (x + y) * 200 / (width + height)).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, width=width, height=height)
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast", "crf": "30"}
        for i in range(frames):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, value in zip(frame.planes, (luma, 110, 140), strict=True):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                rows[:, : plane.width] = value
                rows[:64, i % plane.width] = 128
            frame.pts, frame.time_base = i, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
