"""ComfyUI's IMAGE through the engine: batches, channels and dtypes. No ComfyUI in here."""

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from lkdn_core import FrameFormat, Upscaler
from lkdn_core.color import clip
from lkdn_core.errors import ArgumentError, OutOfMemoryError
from lkdn_core.memory import is_out_of_memory
from lkdn_core.progress import Progress, portion
from lkdn_media.alpha import fill_hidden, limits_around

__all__ = ["ALPHA", "upscale_images"]

#: What can become of a transparency channel.
ALPHA: Final = ("upscale", "drop")
#: One channel as a picture of its own.
_GRAY: Final = FrameFormat(family="gray", bits=32, sample_type="float", matrix="bt709")


def upscale_images(
    images: Tensor,
    upscaler: Upscaler,
    *,
    alpha: str,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> Tensor:
    """Enlarge an IMAGE (B, H, W, C) of any float dtype on any device.

    C is 3 (RGB), 4 (RGBA), 1 (gray) or 2 (gray and alpha); B may be 0. Values outside [0, 1] are
    clipped. Gray and, with ``alpha="upscale"``, transparency go through the network as gray
    pictures; what is opaque or transparent all around stays so, and colours that it hides don't
    reach those that it shows. Returns (B, sH, sW, C), one channel less for ``"drop"``, in [0, 1] on
    ``device`` in ``dtype``. ``progress``: as of `Upscaler.up`, of all; at the end it gets 1. Raises
    ``ArgumentError`` and ``OutOfMemoryError``.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or 0 in shape[1:] or shape[3] > 4 or not images.is_floating_point():
        raise ArgumentError(
            f"image: a float tensor (B, H, W, 1 to 4) is accepted, got {shape} {images.dtype}"
        )
    if alpha not in ALPHA:
        raise ArgumentError(f"alpha: {' or '.join(ALPHA)} is accepted, got {alpha!r}")
    batch, height, width, channels = shape
    scale = upscaler.scale
    kept = channels - (channels in (2, 4) and alpha == "drop")
    out = _result((batch, height * scale, width * scale, kept), dtype, device)
    done = 0
    while done < batch:
        limits = upscaler.limits
        count = upscaler.frames_per_run(height, width, limit=batch - done)
        try:
            part = slice(done, done + count)
            share = portion(progress, done / batch, (done + count) / batch)
            _upscale(images[part], upscaler, out[part], share)
        except (MemoryError, RuntimeError) as error:
            # The engine halves what it runs; here there was no room for the pictures themselves.
            if count == 1 or not is_out_of_memory(error):
                raise
            upscaler.shrink(count, height, width, limits)
            continue
        done += count
    progress(1)
    return out


def _result(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    try:
        return torch.empty(shape, dtype=dtype, device=device)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        batch, height, width, _ = shape
        size = math.prod(shape) * dtype.itemsize / 2**30
        raise OutOfMemoryError(
            f"{batch} pictures of {width}x{height} take {size:.1f} GiB, which {device} has not; "
            "fewer at a time, a smaller scale, or Upscale Video (LKDN) take less"
        ) from error


def _upscale(images: Tensor, upscaler: Upscaler, out: Tensor, progress: Progress | None) -> None:
    """Fill ``out`` (N, sH, sW, K) with the first K channels of ``images`` (N, H, W, C)."""
    if out.shape[-1] in (2, 4):
        images = _fill(images)
    colours, channels = images.shape[-1] // 3, out.shape[-1]  # 3 // 3 and 4 // 3 are 1
    runs = colours + channels - 3 * colours
    shares = [portion(progress, run / runs, (run + 1) / runs) for run in range(runs)]
    if colours:
        rgb = upscaler.up(images[..., :3].movedim(-1, 1), progress=shares[0])
        out[..., :3].copy_(rgb.clamp(0, 1).movedim(1, -1))
    for channel, share in zip(range(3 * colours, channels), shares[colours:], strict=True):
        values = images[..., channel].float()
        (new,) = upscaler.up_planes([values], _GRAY, progress=share)
        out[..., channel].copy_(_held(new, values) if channel in (1, 3) else new)


def _fill(images: Tensor) -> Tensor:
    """``images``, whose last channel is transparency, with other colours where it hides them."""
    colours, alpha = images[..., :-1], images[..., -1:]
    visible = (alpha > 0).movedim(-1, 1).float()
    filled = fill_hidden(clip(colours.float()).movedim(-1, 1), visible).movedim(1, -1)
    return torch.cat([filled, alpha.float()], -1)


def _held(new: Tensor, alpha: Tensor) -> Tensor:
    """``new``, the enlarged ``alpha`` (N, H, W), clipped to what 3x3 pixels around have in it.

    The network changes flat parts a little, and an opaque picture would let others shine through.
    """
    limits = limits_around(clip(alpha))
    least, most = (F.interpolate(limit[:, None], new.shape[1:])[:, 0] for limit in limits)
    return new.clamp_(least, most)
