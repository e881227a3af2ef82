"""Tags of files and streams: which hold for the new file, and which it can't hold."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import av

__all__ = ["copied_tags", "lost_tags", "stream_tags"]

#: Tags that describe the file they were in; the new file's muxer writes its own.
_STALE: Final = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "bps",
    "number_of_frames",
    "number_of_bytes",
}


def copied_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """``tags`` without those that only held for the old file."""

    def stale(name: str) -> bool:
        # mkvmerge's statistics may end in a language: BPS-eng.
        return name.lower().split("-")[0] in _STALE or name.lower().startswith("_statistics")

    return {name: value for name, value in tags.items() if not stale(name)}


def stream_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """`copied_tags` of a stream. MP4 reads a stream's title as ``name`` but writes ``title``."""
    kept = copied_tags(tags)
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    return kept


def lost_tags(container: str, tags: Mapping[str, str]) -> list[str]:
    """Names of those ``tags`` of a file that the muxer ``container`` drops or changes."""
    if container not in ("mp4", "mov"):
        return []  # Matroska takes any
    written = BytesIO()
    with av.open(written, "w", format=container) as trial:
        stream = trial.add_mux_stream("mpeg4", width=16, height=16)
        trial.metadata.update(tags)
        packet: av.Packet[Any] = av.Packet(b"\0")
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        trial.mux(packet)
    written.seek(0)
    with av.open(written) as trial_in:
        kept = {name.lower(): value for name, value in trial_in.metadata.items()}
    return [name for name, value in tags.items() if kept.get(name.lower()) != value]
