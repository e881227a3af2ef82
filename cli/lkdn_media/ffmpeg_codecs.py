"""Encoders that PyAV's build lacks and the user's own ffmpeg has."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import av

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.encoder_options import unknown_option

__all__ = ["OwnCodec", "device_of", "find_codec", "list_codecs", "own_options"]

#: What goes to encoders on a device.
_UPLOADED: Final = ("nv12", "p010le")
#: A line of ``ffmpeg -encoders``: name, description and, where it differs, what it writes.
_LISTED: Final = re.compile(r"^ V\S{5} (\S+) +(.*?)(?: \(codec (\S+)\))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OwnCodec:
    """The encoder ``name`` of ``program``; ``codec`` is what it writes, in FFmpeg's words."""

    program: str
    name: str
    codec: str
    pix_fmts: tuple[str, ...]
    options: frozenset[str]


def list_codecs(program: str) -> list[tuple[str, str, str]]:
    """(name, what it writes, description) of each video encoder of ``program``, an ffmpeg."""
    found = _LISTED.findall(_ask(program, "-encoders"))
    return [(name, codec or name, words) for name, words, codec in found if name != "="]


def find_codec(program: str, name: str) -> OwnCodec | None:
    """The video encoder ``name`` of ``program``, an ffmpeg; ``None`` where it has no such."""
    writes = {encoder: codec for encoder, codec, _ in list_codecs(program)}
    if name not in writes:
        return None
    told = _ask(program, "-h", f"encoder={name}")
    formats = re.search(r"^ +Supported pixel formats: (.*)$", told, re.MULTILINE)
    return OwnCodec(
        program=program,
        name=name,
        codec=writes[name],
        pix_fmts=_UPLOADED if device_of(name) else tuple(formats[1].split()) if formats else (),
        options=frozenset(re.findall(r"^ +-(\S+) +<", told, re.MULTILINE)),
    )


def device_of(name: str) -> str | None:
    """The kind of device that the encoder ``name`` wants its pictures on."""
    kind = name.rpartition("_")[2]
    return kind if kind in ("vaapi", "vulkan") else None


def own_options(codec: OwnCodec, choice: EncoderChoice) -> dict[str, str]:
    """The user's choice as options of ``codec``. Raises ``ArgumentError`` for what it hasn't."""
    options: dict[str, str] = {}
    if choice.bitrate is not None:
        options["b:v"] = str(choice.bitrate)
    for name, value in (("crf", choice.crf), ("preset", choice.preset)):
        if value is not None and name not in codec.options:
            raise ArgumentError(f"{name}: {codec.name} has no such setting, got {value}")
        if value is not None:
            options[name] = f"{value:g}" if isinstance(value, float) else value
    known = codec.options | set(_generic())
    for name, text in choice.options:
        if name not in known:
            raise unknown_option(codec.name, name, known)
        options[name] = text
    return options


def _generic() -> Iterable[str]:
    """Options that all encoders have."""
    return (o.name for o in av.CodecContext.create("mpeg4", "w").supported_options.generic)


def _ask(program: str, *question: str) -> str:
    """What ``program`` says about itself."""
    try:
        answer = subprocess.run(
            [program, "-hide_banner", *question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArgumentError(f"ffmpeg: {program} does not answer: {error}") from error
    return answer.stdout
