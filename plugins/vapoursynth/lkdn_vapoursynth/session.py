"""One ``Upscale`` call: its options, its plan, its threads, and frames in and out."""

import ctypes
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import batched
from typing import Final

import numpy as np
import torch

from lkdn_core import FrameFormat
from lkdn_core.checks import whole
from lkdn_core.errors import ArgumentError, FormatError, LKDNError
from lkdn_core.formats import CHROMA_LOCATIONS, MATRICES, RANGES, SUPPORTED_MATRICES, Family
from lkdn_core.models import DEFAULT_MODEL
from lkdn_vapoursynth.abi import ABSENT, UNREADABLE, Clip, Frame, Plan
from lkdn_vapoursynth.engines import EngineOptions, borrow, give_back
from lkdn_vapoursynth.stdout import stdout_to_stderr

__all__ = ["Options", "Session"]

#: VapourSynth's VSColorFamily.
_FAMILIES: Final[dict[int, Family]] = {1: "gray", 2: "rgb", 3: "yuv"}
_CODES: Final = {name: code for code, name in MATRICES.items()}
#: H.273's "unspecified".
_UNTAGGED: Final = 2
_MATRIX_NAMES: Final = "one of " + ", ".join(
    f"{code} ({name})" for code, name in MATRICES.items() if name in SUPPORTED_MATRICES
)
_DTYPES: Final[dict[torch.dtype, type[np.generic]]] = {
    torch.uint8: np.uint8,
    torch.uint16: np.uint16,
    torch.float16: np.float16,
    torch.float32: np.float32,
}
#: Blocks a forced cache keeps, so that neighbours in flight never make one twice.
_KEPT_BLOCKS: Final = 3
#: Players feed clips of about 2^27 frames whose next one may not come for a while.
_ENDLESS: Final = 2**26
_MAX_STREAMS: Final = 32


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of ``lkdn.Upscale`` and their defaults."""

    scale: int = 4
    model: str = DEFAULT_MODEL
    weights: str | None = None
    batch: int = 0
    tile: int = 0
    overlap: int | None = None
    device: str = "auto"
    precision: str = "auto"
    num_streams: int = 1
    matrix: int | None = None
    tta: int = 1
    backend: str = "auto"
    headroom: int = 0
    denoise: float | None = None

    def __post_init__(self) -> None:
        whole("batch", self.batch, 0)
        whole("num_streams", self.num_streams, 1, _MAX_STREAMS)
        if self.matrix is not None and MATRICES.get(self.matrix) not in SUPPORTED_MATRICES:
            raise ArgumentError(f"matrix: {_MATRIX_NAMES} is accepted, got {self.matrix}")


class Session:
    """Enlarges frames of one clip. Raises `LKDNError` for what the user may have got wrong."""

    def __init__(self, clip: Clip, options: Options) -> None:
        self._format = replace(_clip_format(clip), headroom=bool(options.headroom))
        if self._format.family == "rgb" and options.matrix is not None:
            raise ArgumentError(f"matrix: an RGB clip has none, got {options.matrix}")
        self._matrix = options.matrix
        self._size = clip.width, clip.height
        self._upscaler = borrow(
            EngineOptions(
                scale=options.scale,
                model=options.model,
                weights=options.weights,
                device=options.device,
                precision=options.precision,
                tile=options.tile,
                overlap=options.overlap,
                tta=options.tta,
                backend=options.backend,
                denoise=options.denoise,
            )
        )
        self.plan = self._plan(clip, options)
        # Torch keeps its modes, the CUDA stream and the pool of CPU threads for each thread;
        # VapourSynth's own threads are many, and not ours.
        self._threads = [self._new_thread(stream) for stream in range(self.plan.streams)]

    def run(self, stream: int, source: list[Frame], target: list[Frame]) -> None:
        """Fill the frames of ``target`` with those of ``source``, enlarged."""
        try:
            done = self._threads[stream].submit(self._run, source, target)
        except RuntimeError as error:  # once the interpreter exits, or no thread can be made
            # Without one the job is queued all the same, and its frames will be gone.
            self._threads[stream].shutdown(wait=False, cancel_futures=True)
            self._threads[stream] = self._new_thread(stream)
            raise LKDNError(f"no thread to work in: {error}") from None
        done.result()

    def close(self) -> None:
        """Let go of the threads and the engine, as often as it is called.

        Waits for nothing and takes no lock of ours.
        """
        for thread in self._threads:
            thread.shutdown(wait=False)
        give_back(self._upscaler)

    def _plan(self, clip: Clip, options: Options) -> Plan:
        width, height = (side * options.scale for side in self._size)
        shapes = self._format.plane_shapes(width, height)
        frame_bytes = sum(h * w for h, w in shapes) * self._format.dtype.itemsize
        # Half of what the core may keep, for the kept blocks and the one being made.
        fit = clip.cache_bytes // (2 * (_KEPT_BLOCKS + 1) * options.num_streams * frame_bytes)
        automatic = self._upscaler.frames_per_run(clip.height, clip.width)
        if clip.num_frames >= _ENDLESS:
            automatic = 1
        batch = max(1, min(options.batch or automatic, fit, clip.num_frames))
        streams = min(options.num_streams, -(-clip.num_frames // batch))
        return Plan(scale=options.scale, batch=batch, streams=streams, kept_blocks=_KEPT_BLOCKS)

    def _new_thread(self, stream: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, f"lkdn-stream-{stream}", self._enter_thread)

    def _enter_thread(self) -> None:
        device = self._upscaler.device
        if device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream(device))

    def _run(self, source: list[Frame], target: list[Frame]) -> None:
        with stdout_to_stderr():
            alike: dict[FrameFormat, list[int]] = defaultdict(list)
            for i, frame in enumerate(source):
                alike[self._frame_format(frame)].append(i)
            width, height = self._size
            for format, indices in alike.items():
                # As many at once as pay off: one on a CPU, where that also makes a frame the same
                # to the bit whatever its block.
                for some in batched(indices, self._upscaler.frames_per_run(height, width)):
                    self._enlarge([source[i] for i in some], [target[i] for i in some], format)

    def _enlarge(self, source: list[Frame], target: list[Frame], format: FrameFormat) -> None:
        width, height = self._size
        larger = width * self._upscaler.scale, height * self._upscaler.scale
        inputs = [_views(frame, format, width, height) for frame in source]
        outputs = [_views(frame, format, *larger) for frame in target]
        if len(source) == 1:  # VapourSynth's memory is read and written where it lies
            out = [torch.from_numpy(plane)[None] for plane in outputs[0]]
            planes = [torch.from_numpy(plane)[None] for plane in inputs[0]]
            self._upscaler.up_planes(planes, format, out=out)
        else:
            stacked = (np.stack(plane) for plane in zip(*inputs, strict=True))
            enlarged = self._upscaler.up_planes([torch.from_numpy(p) for p in stacked], format)
            for i, views in enumerate(outputs):
                for view, plane in zip(views, enlarged, strict=True):
                    np.copyto(view, plane[i].numpy())
        for before, after in zip(source, target, strict=True):
            if format.family == "yuv":
                code = _CODES[str(format.matrix)]
                after.matrix = code if code != before.matrix else ABSENT

    def _frame_format(self, frame: Frame) -> FrameFormat:
        """The clip's format with this frame's tags; the documented defaults where it has none."""
        if frame.field_based not in (ABSENT, 0):
            got = _shown(frame.field_based)
            raise FormatError(
                f"_FieldBased: progressive frames (0) are accepted, got {got}: "
                "deinterlace before, or std.SetFieldBased(0) if it is wrong"
            )
        location = None
        if self._format.family == "yuv":
            location = _tag("_ChromaLocation", frame.chroma_location, CHROMA_LOCATIONS)
        return replace(
            self._format,
            matrix=self._frame_matrix(frame),
            color_range=_tag("_Range", frame.range, RANGES),
            chroma_location=location,
        ).resolved(*self._size)

    def _frame_matrix(self, frame: Frame) -> str | None:
        code = frame.matrix if self._matrix is None else self._matrix
        name = MATRICES.get(code)
        if self._format.family != "yuv":
            # Gray that was a plane of something else keeps its tag, which matters no more.
            supported = self._format.family == "gray" and name in SUPPORTED_MATRICES
            return name if supported else None
        if code not in (ABSENT, _UNTAGGED) and name not in SUPPORTED_MATRICES:
            got = name or _shown(code)
            raise FormatError(
                f"_Matrix: {_MATRIX_NAMES} is accepted, got {got}; the argument matrix overrides it"
            )
        return name


def _tag[T](name: str, code: int, names: Mapping[int, T]) -> T | None:
    """What property ``name`` says, ``None`` where it is absent. Raises `FormatError`."""
    if code != ABSENT and code not in names:
        accepted = ", ".join(f"{code} ({name})" for code, name in names.items())
        raise FormatError(f"{name}: one of {accepted} is accepted, got {_shown(code)}")
    return names.get(code)


def _shown(code: int) -> str:
    return "something that is no integer" if code == UNREADABLE else str(code)


def _clip_format(clip: Clip) -> FrameFormat:
    family = _FAMILIES.get(clip.color_family)
    if family is None:
        raise FormatError(f"clip: RGB, YUV or GRAY is accepted, got family {clip.color_family}")
    try:
        return FrameFormat(
            family=family,
            bits=clip.bits,
            sample_type="float" if clip.sample_type else "integer",
            subsampling=(clip.subsampling_w, clip.subsampling_h),
        )
    except FormatError as error:
        raise FormatError(f"clip: {error}") from None


def _views(frame: Frame, format: FrameFormat, width: int, height: int) -> list[np.ndarray]:
    """The planes of a ``width`` x ``height`` frame as arrays (h, w) over VapourSynth's memory."""
    dtype = np.dtype(_DTYPES[format.dtype])
    views = []
    for i, (h, w) in enumerate(format.plane_shapes(width, height)):
        stride = frame.stride[i]
        memory = (ctypes.c_uint8 * (stride * (h - 1) + w * dtype.itemsize)).from_address(
            frame.plane[i]
        )
        views.append(np.ndarray((h, w), dtype, memory, strides=(stride, dtype.itemsize)))
    return views
