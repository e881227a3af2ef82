"""The engine every front end uses: device, precision, batches, tiles, streams of frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lkdn_core.arch import SCALES, receptive_radius
from lkdn_core.backends import AUTO, Network, check_backend_name, load_network
from lkdn_core.checks import choose, whole
from lkdn_core.color import check_planes, clip, dense, from_rgb, to_rgb
from lkdn_core.devices import resolve_device
from lkdn_core.ensemble import POSITIONS, SelfEnsemble
from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.formats import FrameFormat
from lkdn_core.memory import is_out_of_memory, shortage_named
from lkdn_core.models import DEFAULT_MODEL, load_model
from lkdn_core.prepare import DTYPES
from lkdn_core.progress import Progress, Work, attended, portion
from lkdn_core.resize import FinalSize
from lkdn_core.room import MIN_TILE, Limits, Room
from lkdn_core.streaming import FrameStream, Planes
from lkdn_core.tiling import fit_grid, plan_tiles
from lkdn_core.transfer import Copier

__all__ = ["Upscaler", "check_options"]

#: Frames in one automatic batch on a GPU; past this it only adds latency.
MAX_AUTO_BATCH = 16
#: A GPU is busy from about this many input pixels on.
GPU_BATCH_PIXELS = 2**21


class Upscaler:
    """An LKDN network on one device, enlarging pictures and frames by ``scale``.

    ``scale``: 2, 3 or 4. ``model``: a name of ``list_models()``. ``weights``: a checkpoint of the
    user's own instead. ``denoise``: between ``lkdn-s`` (0) and ``lkdn-s-video`` (1), see
    `load_model`. ``device``: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``,
    ``"cuda:1"``. ``precision``: ``"auto"`` (fp16 on a GPU, fp32 on a CPU), ``"fp32"``, ``"fp16"``
    (range-folded weights, exact algebra), ``"bf16"`` (faster on some CPUs, slower on others, which
    ``lkdn-bench --precision fp32 bf16`` tells; costs up to 0.03 dB).
    ``backend``: what runs the network, a name of ``backends.backend_names()``, or ``"auto"``: the
    fastest here, measured the first time and then remembered.
    ``batch_size``: frames in one run, 0 for automatic (1 on a CPU, where batches are slower).
    ``tile``: side of a tile in input pixels, 0 for automatic from free memory. ``overlap``: input
    pixels a tile sees beyond its border; ``None`` is the receptive radius (63 for LKDN-S, 99 for
    LKDN), which makes tiled equal to untiled. ``num_streams``: batches worked on side by side.
    ``tta``: 2, 4 or 8 for the mean over so many positions of each picture (`SelfEnsemble`), which
    is better by some hundredths of a dB and as many times the work.

    Out of memory halves the batch, then the tile, and tries again. Raises ``ArgumentError``,
    ``WeightsError`` and ``DownloadError`` on creation. Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        model: str = DEFAULT_MODEL,
        weights: str | Path | None = None,
        denoise: float | None = None,
        device: str = "auto",
        precision: str = "auto",
        backend: str = AUTO,
        batch_size: int = 0,
        tile: int = 0,
        overlap: int | None = None,
        num_streams: int = 1,
        tta: int = 1,
    ) -> None:
        choose("scale", scale, SCALES)
        whole("num_streams", num_streams, 1)
        self.device = check_options(
            device=device,
            precision=precision,
            backend=backend,
            batch_size=batch_size,
            tile=tile,
            overlap=overlap,
            tta=tta,
        )
        self.scale = scale
        self.precision = precision
        if precision == "auto":
            self.precision = "fp16" if self.device.type == "cuda" else "fp32"
        trained, self.config = load_model(model, scale, weights=weights, denoise=denoise)
        self.overlap = receptive_radius(self.config.blocks) if overlap is None else overlap
        self.batch_size = batch_size
        self.num_streams, self.tta = num_streams, tta
        self._network: Network
        self.backend, self._network = load_network(
            backend, trained, self.config, self.device, self.precision
        )
        if tta > 1:
            self._network = SelfEnsemble(self._network, tta, scale)
        self._room = Room(self.device, tile)
        self._copier = Copier(self.device)

    def up(self, rgb: Tensor, *, progress: Progress | None = None) -> Tensor:
        """Enlarge RGB pictures (N, 3, H, W) of any float dtype on any device, in [0, 1].

        Returns (N, 3, sH, sW) float32 on the engine's device, not clamped: a few per cent of the
        samples lie slightly outside [0, 1]. ``progress`` is called with the share that is done,
        below 1, before each tile, and on a CPU a few times a second while one is worked on; after a
        shortage of memory it may fall. What it raises ends the work, unless it says that memory is
        short. Raises ``ArgumentError`` and ``OutOfMemoryError``.
        """
        if not isinstance(rgb, Tensor):
            raise ArgumentError(f"rgb: a tensor is accepted, got {type(rgb).__name__}")
        if not dense(rgb):
            got = f"{rgb.layout} on {rgb.device}"
            raise ArgumentError(f"rgb: a dense tensor with data is accepted, got {got}")
        if rgb.ndim != 4 or rgb.shape[1] != 3 or 0 in rgb.shape[2:] or not rgb.is_floating_point():
            got = f"{tuple(rgb.shape)} {rgb.dtype}"
            raise ArgumentError(f"rgb: a float tensor (N, 3, H, W) is accepted, got {got}")
        with shortage_named(self.device), self._plain_arithmetic():
            return self._enlarge(rgb, clipped=False, progress=progress)

    def _enlarge(self, rgb: Tensor, *, clipped: bool, progress: Progress | None = None) -> Tensor:
        """`up`; ``clipped``: ``rgb`` lies in [0, 1] already."""
        n, _, height, width = rgb.shape
        shape = (n, 3, height * self.scale, width * self.scale)
        out = torch.empty(shape, dtype=torch.float32, device=self.device)
        done = 0
        while done < n:
            limits = self.limits
            count = self.frames_per_run(height, width, limit=n - done)
            part = slice(done, done + count)
            try:
                share = portion(progress, done / n, (done + count) / n)
                self._run(rgb[part], out[part], clipped=clipped, progress=share)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self.shrink(count, height, width, limits)
            else:
                done += count
        return out

    def up_planes(
        self,
        planes: Sequence[Tensor],
        format: FrameFormat,
        *,
        out_format: FrameFormat | None = None,
        size: FinalSize | None = None,
        out: Sequence[Tensor] | None = None,
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """Enlarge a batch of frames given as planes (N, h, w) in ``format``.

        Returns planes of ``out_format`` (by default ``format``, its missing tags filled by the
        documented rule for the source's size) on the device the source planes are on. They are
        ``scale`` times larger, or of ``size``: then the enlarged RGB is resized on the device.
        They have headroom where ``format`` has it; that costs some hundredths of a dB.
        ``out``: planes on the source's device to fill and return instead of new ones.
        ``progress``: as of `up`. Raises ``FormatError``, ``ArgumentError`` and
        ``OutOfMemoryError``.

        Planes that a decoder left on the GPU are never copied to the host. Those of PyAV's hardware
        frames know of no stream: ``torch.utils.dlpack.from_dlpack(plane.__dlpack__())``.
        """
        check_planes(planes, format)
        _check_result(out_format, size)
        with shortage_named(self.device):
            if out is None or all(p.device.type == self.device.type for p in planes):
                return self._start(planes, format, out_format, size, out=out, progress=progress)()
            enlarged = self._start(planes, format, out_format, size, progress=progress)()
        for plane, done in zip(out, enlarged, strict=True):
            plane.copy_(done)
        return list(out)

    def _start(
        self,
        planes: Sequence[Tensor],
        format: FrameFormat,
        out_format: FrameFormat | None,
        size: FinalSize | None,
        *,
        out: Sequence[Tensor] | None = None,
        progress: Progress | None = None,
    ) -> Callable[[], list[Tensor]]:
        """``up_planes``, on a GPU without waiting for it; the function returned waits."""
        height, width = planes[0].shape[1:]
        source = format.resolved(width, height)
        home = planes[0].device
        with self._plain_arithmetic():
            rgb = to_rgb(self._copier.upload(planes), source, dtype=self._network.dtype)
            rgb = self._enlarge(rgb, clipped=True, progress=progress)
            if size is not None:
                rgb = size.apply(rgb.clamp_(0, 1))
            final_height, final_width = rgb.shape[2:]
            target = out_format.resolved(final_width, final_height) if out_format else source
            target = replace(target, headroom=source.headroom)
            return self._copier.download(from_rgb(rgb, target, out=out), home)

    def stream(
        self,
        frames: Iterable[Planes],
        format: FrameFormat,
        *,
        out_format: FrameFormat | None = None,
        size: FinalSize | None = None,
        progress: Progress | None = None,
    ) -> Iterator[list[np.ndarray]]:
        """Enlarge frames one after another, in order, holding a few batches at a time.

        Each frame is its planes (h, w); all have the first one's size. Yields planes of
        ``out_format`` and ``size`` as ``up_planes`` does. The work runs in ``num_streams`` threads,
        so reading ``frames`` overlaps with it; on a GPU the copies of one batch overlap with the
        work on another. A batch that repeats recent frames, as a still scene does, costs
        nothing: their arrays are yielded again, so all are read-only. ``progress``: as of `up`,
        of each batch, called in those threads. Raises ``FormatError`` and ``OutOfMemoryError``.
        """

        _check_result(out_format, size)

        def start(planes: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
            check_planes(planes, format)
            return self._start(planes, format, out_format, size, progress=progress)

        return FrameStream(self, start).run(frames)

    def frames_per_run(self, height: int, width: int, *, limit: int | None = None) -> int:
        """How many frames of this size one run takes, at most ``limit``."""
        limits = self.limits
        fit = max(1, limits.budget // self.bytes_for(height, width))
        if self.batch_size:
            wanted = self.batch_size
        elif self.device.type == "cpu" or limits.tile:
            wanted = 1
        else:
            wanted = min(MAX_AUTO_BATCH, max(1, GPU_BATCH_PIXELS // (height * width)))
        return max(1, min(wanted, fit, limit or wanted))

    def bytes_for(self, height: int, width: int) -> int:
        """Bytes of the device's memory one picture of this input size takes while it runs."""
        tile = 4 * 3 * height * width * (1 + self.scale**2)
        return tile + self._network.bytes_for(height, width)

    def _run(
        self,
        rgb: Tensor,
        out: Tensor,
        *,
        clipped: bool,
        progress: Progress | None,
    ) -> None:
        """Fill ``out`` tile by tile."""
        s, (height, width) = self.scale, rgb.shape[2:]
        x = rgb.to(self.device, self._network.dtype)
        x = x if clipped else clip(x)
        rows, columns = self._grid(height, width, len(rgb))
        tiles = plan_tiles(height, width, rows=rows, columns=columns, overlap=self.overlap)
        areas = [(t.y1 - t.y0) * (t.x1 - t.x0) for t in tiles]
        # A GPU has no way to end what it has begun, nor does that take long.
        watched = self.device.type == "cpu"
        done, total = 0, sum(areas)
        for t, area in zip(tiles, areas, strict=True):
            share = portion(progress, done / total, (done + area) / total)
            if share is not None:
                share(0)
            window = x[:, :, t.y0 : t.y1, t.x0 : t.x1]
            window = window.contiguous(memory_format=self._network.memory_format)
            alone = len(tiles) == 1
            size = len(x), 3, window.shape[2] * s, window.shape[3] * s
            y = out if alone else out.new_empty(size)
            run = partial(self._run_network, window, y, torch.is_inference_mode_enabled())
            attended(run, share if watched else None, pixels=self.tta * len(x) * area)
            done += area
            if not alone:
                out[:, :, *t.place(s)].copy_(y[:, :, *t.inner(s)])

    def _run_network(self, x: Tensor, out: Tensor, inference: bool, work: Work | None) -> None:
        # Both are a matter of the thread, and what was made in inference mode changes only in it.
        with torch.inference_mode(inference), self._plain_arithmetic():
            self._network(x, out, work)

    def _grid(self, height: int, width: int, count: int) -> tuple[int, int]:
        limits = self.limits
        if limits.tile:
            return -(-height // limits.tile), -(-width // limits.tile)
        grid = fit_grid(
            height,
            width,
            fits=lambda tall, wide: count * self.bytes_for(tall, wide) <= limits.budget,
            overlap=self.overlap,
        )
        most = -(-height // MIN_TILE), -(-width // MIN_TILE)
        return (min(grid[0], most[0]), min(grid[1], most[1])) if grid else most

    @contextmanager
    def _plain_arithmetic(self) -> Iterator[None]:
        """No gradients, and the engine's own precision whatever the caller's autocast says.

        Not inference mode: results are tensors like any other, to train on or to write to.
        """
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            yield

    @property
    def limits(self) -> Limits:
        """What a run may take."""
        return self._room.limits

    def shrink(self, count: int, height: int, width: int, limits: Limits) -> None:
        """After an allocation for ``count`` frames failed: half the frames, else half the tile.

        ``limits``: what they were when that run began. ``frames_per_run`` gives less from then on.
        Raises ``OutOfMemoryError`` when nothing is left to halve.
        """
        window = MIN_TILE + 2 * self.overlap
        self._room.lower(
            limits,
            count * self.bytes_for(height, width),
            least=self.bytes_for(min(height, window), min(width, window)),
            several=count > 1,
        )

    def renew(self) -> None:
        """Forget shortages, for an engine kept from job to job: memory may be free again."""
        self._room.renew()

    def release(self) -> None:
        """Give memory that is kept on the device for the next run to others, between two jobs."""
        self._network.release()


def _check_result(format: FrameFormat | None, size: FinalSize | None) -> None:
    """Raise ``FormatError`` unless these may be what enlarged frames shall be."""
    if not isinstance(format, FrameFormat | None):
        raise FormatError(f"out_format: a FrameFormat or None is accepted, got {format!r}")
    if not isinstance(size, FinalSize | None):
        raise FormatError(f"size: a FinalSize or None is accepted, got {size!r}")


def check_options(
    *,
    device: str,
    precision: str,
    backend: str,
    batch_size: int,
    tile: int,
    overlap: int | None,
    tta: int,
) -> torch.device:
    """Refuse arguments of `Upscaler` that it would refuse, without a network; returns the device.

    Whether a backend runs here only loading the network tells. Raises ``ArgumentError``.
    """
    choose("precision", precision, ("auto", *DTYPES))
    check_backend_name(backend)
    whole("batch_size", batch_size, 0)
    whole("tile", tile, 0)
    if overlap is not None:
        whole("overlap", overlap, 0)
    choose("tta", tta, POSITIONS)
    return resolve_device(device)
