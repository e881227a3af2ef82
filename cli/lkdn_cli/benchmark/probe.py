"""Time and memory of one frame of one size, each in a fresh process.

python -m lkdn_cli.benchmark.probe '{"model": "lkdn-s", "scale": 2, ...}'
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lkdn_core.errors import LKDNError

__all__ = ["Probe", "probe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one process is to run: a YUV 4:2:0 frame of ``width`` x ``height``, planes to planes."""

    model: str
    scale: int
    backend: str
    precision: str
    device: str
    threads: int
    width: int
    height: int


def probe(what: Probe) -> dict[str, Any]:
    """Run ``what`` in a process of its own.

    Returns what it was, with the ``backend`` that was chosen, ``seconds``, ``cpu_seconds``,
    ``peak_bytes`` of the whole process, ``idle_bytes`` of it before the frame, and
    ``device_bytes`` of the GPU's memory. Raises ``LKDNError``.
    """
    command = [sys.executable, "-m", __name__, json.dumps(asdict(what))]
    paths = [p for p in sys.path if p]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise LKDNError(f"{what.width}x{what.height}: {last[0]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return asdict(what) | measured


def _run(what: Probe) -> dict[str, Any]:
    import torch

    from lkdn_core import FrameFormat, Upscaler

    torch.set_num_threads(what.threads)
    upscaler = Upscaler(
        scale=what.scale,
        model=what.model,
        backend=what.backend,
        precision=what.precision,
        device=what.device,
    )
    format = FrameFormat(family="yuv", subsampling=(1, 1))

    def enlarge(width: int, height: int) -> None:
        sizes = format.plane_shapes(width, height)
        planes = [torch.randint(16, 235, (1, *size), dtype=torch.uint8) for size in sizes]
        upscaler.up_planes(planes, format)

    enlarge(64, 36)
    on_gpu = upscaler.device.type == "cuda"
    if on_gpu:
        enlarge(what.width, what.height)  # kernels are chosen by shape
        torch.cuda.reset_peak_memory_stats(upscaler.device)
    idle = _memory("VmRSS")
    before = time.process_time(), time.perf_counter()
    enlarge(what.width, what.height)
    return {
        "backend": upscaler.backend,
        "cpu_seconds": time.process_time() - before[0],
        "seconds": time.perf_counter() - before[1],
        "idle_bytes": idle,
        "peak_bytes": _memory("VmHWM"),
        "device_bytes": torch.cuda.max_memory_allocated(upscaler.device) if on_gpu else 0,
    }


def _memory(field: str) -> int:
    """Bytes of this process, from the kernel."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LKDNError(f"the kernel does not tell {field}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(Probe(**json.loads(sys.argv[1])))))
