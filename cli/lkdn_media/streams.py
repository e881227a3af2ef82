"""Which streams are copied: those that the new file's container can hold."""

from functools import cache
from io import BytesIO
from typing import Final

import av
from av.container import OutputContainer
from av.stream import AttachmentStream, Disposition, Stream

from lkdn_media.encoders import holds
from lkdn_media.source import Source
from lkdn_media.tags import stream_tags
from lkdn_media.targets import PLAIN

__all__ = ["add_copy", "can_hold", "copied_streams", "fallback_codec", "is_cover", "label_copy"]

_ALTERNATIVES: Final = {"mkv": "matroska", "mp4": "mp4", "mov": "mov"}
#: What a number of channels usually means.
_LAYOUTS: Final = dict(enumerate(("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"), 1))


def copied_streams(source: Source, container: str) -> tuple[tuple[int, ...], list[str]]:
    """Indexes of the streams that are copied, and a warning that names those that can't be."""
    copied: list[int] = []
    dropped: list[str] = []
    able = list(_ALTERNATIVES)
    if all(info.index == source.video or info.rebuilt for info in source.streams):
        return (), []
    with source.open() as media:
        for info in source.streams:
            if info.index == source.video or info.rebuilt:
                continue
            stream = media.streams[info.index]
            if container not in PLAIN and _takes(container, stream, info.codec):
                copied.append(info.index)
            else:
                dropped.append(str(info))
                others = {ending: _ALTERNATIVES[ending] for ending in able}
                able = [end for end, other in others.items() if _takes(other, stream, info.codec)]
    if not dropped:
        return tuple(copied), []
    instead = " or ".join(able) or "no container here"
    return tuple(copied), [
        f"dropped, since {container} can't hold them: {', '.join(dropped)}; {instead} can"
    ]


def _takes(container: str, stream: Stream, codec: str) -> bool:
    if can_hold(container, stream):
        return True
    if isinstance(stream, av.AudioStream) and not (stream.format and stream.sample_rate):
        return False  # nothing of it could be decoded
    return fallback_codec(container, codec) is not None


def can_hold(container: str, stream: Stream) -> bool:
    """Whether the muxer ``container`` takes a copy of ``stream``: it is asked to write a header."""
    if isinstance(stream, AttachmentStream):
        return container == "matroska"
    if is_cover(stream) and container == "mov":
        return False  # it takes one, and writes nothing
    if is_cover(stream) and container == "matroska":
        return True  # as an attachment, of any kind
    try:
        with av.open(BytesIO(), "w", format=container) as trial:
            add_copy(stream, trial)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


@cache
def fallback_codec(container: str, codec: str) -> str | None:
    """What ``codec``, which ``container`` can't hold, becomes: its text, or its samples."""
    if container != "matroska":
        return None
    if codec == "mov_text":
        return "subrip"
    try:
        decoder = av.Codec(codec, "r")
    except ValueError:
        return None
    if decoder.type != "audio" or holds(container, codec):
        return None
    return "pcm"  # PyAV leaves out what Matroska takes as AVI does, such as the sound of WMV


def add_copy(stream: Stream, out: OutputContainer) -> Stream:
    """A stream of ``out``, with its labels, that takes the packets of ``stream``."""
    copy = out.add_stream_from_template(stream, opaque=True)
    if out.format.name == "mp4" and isinstance(copy, av.AudioStream) and copy.codec_context:
        # Without a layout, which Matroska doesn't have, its muxer fails at the end for PCM.
        layout = copy.layout
        if layout.name == f"{layout.nb_channels} channels":
            copy.codec_context.layout = _LAYOUTS.get(layout.nb_channels, layout)
    label_copy(copy, stream)
    return copy


def label_copy(copy: Stream, stream: Stream) -> None:
    """Give ``copy`` the tags and uses of ``stream``."""
    copy.metadata.update(stream_tags(stream.metadata))
    copy.disposition = stream.disposition


def is_cover(stream: Stream) -> bool:
    """Whether ``stream`` is a still picture for the whole file."""
    return bool(stream.disposition & Disposition.attached_pic)
