"""Which streams are copied: those that the new file's container can hold."""

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from typing import Final

import av
from av.container import OutputContainer
from av.stream import AttachmentStream, Stream

from lkdn_core.errors import ArgumentError
from lkdn_media.demux import codec_name, is_cover
from lkdn_media.recode import LAYOUTS, fallback_codec, is_lossy
from lkdn_media.source import Source
from lkdn_media.tags import stream_tags
from lkdn_media.targets import PLAIN

__all__ = ["add_copy", "copied_streams", "label_copy", "without_streams"]

_ALTERNATIVES: Final = {"mkv": "matroska", "mp4": "mp4", "mov": "mov"}

#: What `without_streams` calls streams.
_KINDS: Final = ("audio", "subtitle", "cover", "attachment", "data", "video")


def without_streams(source: Source, unwanted: Iterable[str]) -> Source:
    """``source`` without some streams beside its video, which stays.

    ``unwanted``: kinds, alone or as ``audio:jpn`` of one language, and numbers such as ``#3``.
    Raises ``ArgumentError`` for other words, and numbers of no such stream.
    """
    every = beside = [info for info in source.streams if info.index != source.video]
    for name in unwanted:
        kind, _, language = name.partition(":")
        number = name.removeprefix("#")
        if number.isdecimal():
            left = [info for info in beside if info.index != int(number)]
            if all(info.index != int(number) for info in every):
                there = ", ".join(map(str, every)) or "nothing"
                raise ArgumentError(f"drop: beside its video {source.path} has {there}, got {name}")
        elif kind in _KINDS:
            left = [
                info
                for info in beside
                if kind != ("cover" if info.cover else info.kind)
                or language not in ("", info.tags.get("language"))
            ]
        else:
            raise ArgumentError(
                f"drop: {', '.join(_KINDS)}, a language behind one as in audio:jpn, or a number "
                f"that --dry-run shows is accepted, got {name!r}"
            )
        beside = left
    kept = {source.video, *(info.index for info in beside)}
    return replace(source, streams=tuple(s for s in source.streams if s.index in kept))


def copied_streams(source: Source, container: str) -> tuple[dict[int, str | None], list[str]]:
    """Which streams are kept, and what to warn of.

    By index, each with what it becomes: of `fallback_codec`, or ``None`` for a copy.
    """
    copied: dict[int, str | None] = {}
    dropped: list[str] = []
    lines: list[str] = []
    able = list(_ALTERNATIVES)
    if all(info.index == source.video or info.rebuilt for info in source.streams):
        return {}, []
    with source.open() as media:
        for info in source.streams:
            if info.index == source.video or info.rebuilt:
                continue
            stream = media.streams[info.index]
            held = container not in PLAIN and _can_hold(container, stream)
            new = None if held else fallback_codec(container, stream)
            if not held and new is None:
                dropped.append(str(info))
                able = [ending for ending in able if _takes(_ALTERNATIVES[ending], stream)]
                continue
            copied[info.index] = new
            if source.span is not None and stream.type == "video" and not is_cover(stream):
                lines.append(f"cut at keyframes, from the first one in the part: {info}")
            if container in ("mp4", "mov") and info.codec == "dvd_subtitle" and not new:
                lines.append(
                    f"{container} has no place for the size of the screen that these lie on, and "
                    f"players may take it for that of the new video; mkv has: {info}"
                )
            if container == "mp4" and info.codec.startswith("pcm_") and not new:
                lines.append(f"few players read samples in mp4, some play noise; mov has: {info}")
            if new and is_lossy(info.codec, new):
                lines.append(f"encoded anew as {new}, since {container} can't hold it: {info}")
    if dropped:
        instead = " or ".join(able) or "no container here"
        them = ", ".join(dropped)
        lines.append(f"dropped, since {container} can't hold them: {them}; {instead} can")
    return copied, lines


def _takes(container: str, stream: Stream) -> bool:
    return _can_hold(container, stream) or fallback_codec(container, stream) is not None


def _can_hold(container: str, stream: Stream) -> bool:
    """Whether the muxer ``container`` takes a copy of ``stream``: it is asked to write some."""
    if isinstance(stream, AttachmentStream):
        return container == "matroska"
    if is_cover(stream) and container == "mov":
        return False  # it takes one, and writes nothing
    if is_cover(stream) and container == "matroska":
        return True  # as an attachment, of any kind
    file = BytesIO()
    try:
        with av.open(file, "w", format=container) as trial:
            copy = add_copy(stream, trial)
            trial.start_encoding()
            if stream.type != "data" or container not in ("mp4", "mov"):
                return True
            # These take any, but of some they write no description: no reader knows what they are.
            packet = av.Packet(bytes(16))
            packet.stream, packet.time_base = copy, copy.time_base
            packet.pts = packet.dts = 0
            trial.mux(packet)
        file.seek(0)
        with av.open(file) as written:
            name = codec_name(stream)
            return bool(name) and name in map(codec_name, written.streams)
    except (av.FFmpegError, ValueError):
        return False


def add_copy(stream: Stream, out: OutputContainer) -> Stream:
    """A stream of ``out``, with its labels, that takes the packets of ``stream``."""
    copy = out.add_stream_from_template(stream, opaque=True)
    if out.format.name == "mp4" and isinstance(copy, av.AudioStream) and copy.codec_context:
        # Without a layout, which Matroska doesn't have, its muxer fails at the end for PCM.
        layout = copy.layout
        if layout.name == f"{layout.nb_channels} channels":
            copy.codec_context.layout = LAYOUTS.get(layout.nb_channels, layout)
    label_copy(copy, stream, out.format.name)
    return copy


def label_copy(copy: Stream, stream: Stream, container: str) -> None:
    """Give ``copy``, in ``container``, the tags and uses of ``stream``."""
    copy.metadata.update(stream_tags(stream.metadata, container))
    copy.disposition = stream.disposition
