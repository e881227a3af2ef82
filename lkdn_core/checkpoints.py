"""Read any LKDN checkpoint: ours (safetensors) or the authors' layout (``.pth``), fused or not."""

import logging
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from lkdn_core.arch import (
    INPUT_COPIES,
    LKDN,
    MAX_BLOCKS,
    MAX_CHANNELS,
    SCALES,
    LKDNConfig,
    Refinement,
    Upsampler,
)
from lkdn_core.errors import WeightsError
from lkdn_core.fuse import Weights

__all__ = ["read_checkpoint"]

log = logging.getLogger(__name__)

#: Of a file, and of its tensors in float32.
MAX_BYTES: Final = 2**30


def read_checkpoint(path: str | Path) -> tuple[Weights, LKDNConfig]:
    """The weights in ``path`` (layout of the authors' checkpoints) and the network they fit.

    Takes ``.safetensors`` or ``.sft``, or a torch file with the tensors under ``params_ema``,
    ``params`` or bare; nothing in the file is executed. Raises ``WeightsError`` with one sentence
    for anything that is not a complete LKDN network.
    """
    if not isinstance(path, str | Path):
        raise WeightsError(f"weights: a path is accepted, got {path!r:.80}")
    path = Path(path)
    weights = _tensors(path)
    try:
        config = _detect_config(weights)
        _check_shapes(weights, config)
    except WeightsError as error:
        raise WeightsError(f"weights: {path} is not an LKDN network: {error}") from None
    broken = [k for k, v in weights.items() if not v.isfinite().all()]
    if broken:
        raise WeightsError(
            f"weights: {path} holds values that are not finite, first in {broken[0]}"
        )
    return weights, config


def _detect_config(weights: Mapping[str, Tensor]) -> LKDNConfig:
    """The network's sizes, read off key names and shapes alone. Raises ``WeightsError``."""
    blocks = [int(m[1]) for k in weights if (m := re.fullmatch(r"B(\d{1,4})\.c1_d\.weight", k))]
    if sorted(blocks) != list(range(1, len(blocks) + 1)) or not 1 <= len(blocks) <= MAX_BLOCKS:
        raise WeightsError(f"blocks B1, B2, ... are expected, got {len(blocks)} of them")
    head = _shape(weights, "fea_conv.pw.weight")
    inputs = 3 * INPUT_COPIES
    if head[1:] != (inputs, 1, 1) or head[0] % 2 or not 2 <= head[0] <= MAX_CHANNELS:
        raise WeightsError(
            f"fea_conv.pw.weight has shape {head} where (C, {inputs}, 1, 1) is expected, "
            f"C even and 2 to {MAX_CHANNELS}"
        )
    rep = "upsampler.conv3.weight" in weights
    out = _shape(weights, "upsampler.conv3.weight" if rep else "upsampler.0.weight")[0]
    scale = {3 * s * s: s for s in SCALES}.get(out)
    if scale is None:
        raise WeightsError(f"an upsampler of 12, 27 or 48 channels is expected, got {out}")
    refinement: Refinement = "rbsb" if "B1.c1_r.rep1x1.weight" in weights else "bsconv"
    upsampler: Upsampler = "rep" if rep else "conv"
    return LKDNConfig(scale, head[0], len(blocks), refinement, upsampler)


def _tensors(path: Path) -> Weights:
    """The file's named tensors in float32, whatever container they came in."""
    try:
        if not path.is_file():
            what = "a file is accepted, got the folder" if path.is_dir() else "no such file:"
            raise WeightsError(f"weights: {what} {path}")
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"weights: {path} has more than 1 GiB, no LKDN network does")
        path.open("rb").close()
    except OSError as error:
        raise WeightsError(f"weights: {path} can't be read: {error.strerror}") from error
    try:
        content = _load(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file fails in any way a parser can
        log.debug("%s", error)
        raise WeightsError(f"weights: {path} is damaged, or not a safe weights file") from error
    for key in ("params_ema", "params"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"weights: {path} holds no named tensors")
    for key, value in content.items():
        if not (isinstance(key, str) and isinstance(value, Tensor) and _is_plain(value)):
            raise WeightsError(f"weights: {path} holds {key!r:.80}, not a plain float tensor")
    if 4 * sum(value.numel() for value in content.values()) > MAX_BYTES:
        raise WeightsError(f"weights: {path} holds more than 1 GiB, no LKDN network does")
    try:
        return {k: v.detach().float() for k, v in content.items()}
    except NotImplementedError as error:  # floats of 4 bits have no way out
        raise WeightsError(f"weights: {path} holds floats that can't be read") from error


def _load(path: Path) -> object:
    """Whatever is in the file."""
    if path.suffix.lower() in {".safetensors", ".sft"}:
        from safetensors.torch import load  # training may do without it

        # Not mapped: a file that shrinks later would end the process, and torch takes Ctrl-C
        # while it makes a tensor of a map for an error in the file.
        return load(path.read_bytes())
    if zipfile.is_zipfile(path):  # torch compresses nothing; a small file may still be huge
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise WeightsError(f"weights: {path} unpacks to more than 1 GiB")
    with warnings.catch_warnings():
        # torch's, of files that are refused or right all the same
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_plain(value: Tensor) -> bool:
    """Whether ``value`` is floats that lie in memory: not sparse, nested or without data."""
    dense = value.layout == torch.strided and not value.is_nested
    return dense and value.device.type == "cpu" and value.is_floating_point()


def _check_shapes(weights: Weights, config: LKDNConfig) -> None:
    with torch.device("meta"):
        expected = LKDN(config).state_dict()
    missing, foreign = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or foreign:
        what = f"{min(missing)} is missing" if missing else f"{min(foreign)!r:.80} is foreign"
        raise WeightsError(what)
    for key, value in expected.items():
        if weights[key].shape != value.shape:
            got, want = tuple(weights[key].shape), tuple(value.shape)
            raise WeightsError(f"{key} has shape {got} where {want} is expected")


def _shape(weights: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in weights or weights[key].ndim != 4:
        raise WeightsError(f"{key} is missing or not a convolution")
    return tuple(weights[key].shape)
