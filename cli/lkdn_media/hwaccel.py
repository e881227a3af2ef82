"""Decoding on a GPU or a media engine, where there is one; else in software, as ever."""

import logging

import av
from av.codec.hwaccel import HWAccel, HWDevice, hwdevices_available

from lkdn_core.errors import ArgumentError

__all__ = ["accelerator", "check_name", "device_names", "opens", "unmet"]

log = logging.getLogger(__name__)


def device_names() -> list[str]:
    """The kinds of devices this PyAV knows, here or not."""
    return list(hwdevices_available())


def opens(name: str) -> bool:
    """Whether a device of that kind is here."""
    try:
        HWDevice(name)
    except (av.FFmpegError, OSError, NotImplementedError, ValueError):
        return False
    return True


def check_name(wanted: str) -> str:
    """``wanted``: none, auto or a kind of device. Raises ``ArgumentError`` for other names."""
    accepted = ("none", "auto", *device_names())
    if wanted not in accepted:
        raise ArgumentError(f"hwaccel: {', '.join(accepted)} is accepted, got {wanted!r}")
    return wanted


def accelerator(wanted: str, codec: str) -> HWAccel | None:
    """What helps the decoder ``codec``: a device of the kind ``wanted``; ``None`` is software.

    ``"none"`` is software, ``"auto"`` the first kind that is here. Where the wish can't be had,
    software it is, which `unmet` says.
    """
    if wanted == "none":
        return None
    able = {config.device_type.name for config in av.Codec(codec, "r").hardware_configs}
    for name in device_names() if wanted == "auto" else [wanted]:
        if name in able and opens(name):
            log.info("hwaccel: %s decodes %s", name, codec)
            return HWAccel(name, allow_software_fallback=True)
    log.info("hwaccel: software decodes %s", codec)
    return None


def unmet(wanted: str, codec: str) -> list[str]:
    """A line for a kind of device that was named and can't decode here."""
    if wanted in ("none", "auto") or accelerator(wanted, codec):
        return []
    return [f"hwaccel: {wanted} can't decode {codec} here, so software does"]
