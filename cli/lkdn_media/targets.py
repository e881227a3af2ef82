"""Where a video is written to: a file, numbered pictures, or a pipe; and as what."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lkdn_core.errors import ArgumentError
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.encoders import CONTAINERS, nearest_pix_fmt
from lkdn_media.formats import PLANAR, Layout
from lkdn_media.image_writers import WRITERS
from lkdn_media.images import READABLE
from lkdn_media.pipes import PIPE, PIPE_FORMATS

__all__ = [
    "NUMBER",
    "PICTURES",
    "PLAIN",
    "container_of",
    "is_pattern",
    "plain_codec",
]

#: What stands for the muxer where pictures are written as files.
PICTURES: Final = "pictures"
#: Where there is nothing but pictures: no other streams, no tags.
PLAIN: Final = (*PIPE_FORMATS.values(), PICTURES)
#: Muxers of a pipe by the word for them; the last has all that a file has.
_PIPED: Final = PIPE_FORMATS | {"mkv": "matroska"}
#: A number in the name of a picture.
NUMBER: Final = re.compile(r"%(?:0(\d+))?d")
_Y4M: Final = [
    *(f"yuv{s}p{d}" for d in ("", "9le", "10le", "12le", "14le", "16le") for s in (420, 422, 444)),
    *("yuv411p", "gray", "gray9le", "gray10le", "gray12le", "gray16le"),
]


def is_pattern(path: Path) -> bool:
    """Whether ``path`` names numbered pictures: one ``%d`` or ``%05d`` in its last part."""
    return len(NUMBER.findall(path.name)) == 1 and path.suffix.lower() in (*WRITERS, *READABLE)


def container_of(target: Path, format: str | None) -> str:
    """The muxer for ``target``, or `PICTURES`. ``format``: of a pipe, y4m by default.

    Raises ``ArgumentError``.
    """
    if target == PIPE and format in (None, *_PIPED):
        return _PIPED[format or "y4m"]
    if target == PIPE or format is not None:
        able = ", ".join(_PIPED)
        raise ArgumentError(f"format: {able} go to a pipe, named -, got {format} for {target}")
    if is_pattern(target) and target.suffix.lower() in WRITERS:
        return PICTURES
    container = CONTAINERS.get(target.suffix.lower())
    if container is None:
        endings = ", ".join(CONTAINERS)
        instead = "; lkdn-image enlarges pictures" if target.suffix.lower() in WRITERS else ""
        raise ArgumentError(
            f"output: a name ending in {endings} is accepted, or pictures/%05d.png, or - for a "
            f"pipe, got {target.name!r}{instead}"
        )
    return container


def plain_codec(
    container: str, target: Path, layout: Layout, choice: EncoderChoice
) -> tuple[str, str]:
    """(codec, pixel format) where pictures are not encoded as a video.

    Raises ``ArgumentError`` for settings that only encoders have.
    """
    names: Iterable[str] = _Y4M if container == PIPE_FORMATS["y4m"] else PLANAR
    what = "rawvideo"
    if container == PICTURES:
        writer = WRITERS[target.suffix.lower()]
        what = writer.name.lower()
        names = ["gbrp", "gray"]
        names += ["gbrap", "ya8"] if writer.alpha else []
        names += ["gbrp16le", "gray16le"] if writer.deep else []
        names += ["gbrap16le", "ya16le"] if writer.alpha and writer.deep else []
    given = {name: getattr(choice, name) for name in ("codec", "crf", "bitrate", "preset")}
    given["encoder_opt"] = " ".join(f"{name}={value}" for name, value in choice.options) or None
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(f"{name}: is for encoders, and {target} has none, got {value}")
    usable = {name: PLANAR[name] for name in names if name in PLANAR}
    return what, nearest_pix_fmt(what, usable, layout, choice.pix_fmt)
