"""Tags of files and streams: which hold for the new file, and which it can't hold."""

from collections.abc import Mapping
from fractions import Fraction
from io import BytesIO
from typing import Any, Final

import av

__all__ = ["KEYS", "copied_tags", "lost_tags", "need_keys", "stream_tags"]

#: Tags that describe the file they were in; the new file's muxer writes its own.
_STALE: Final = {
    "alpha_mode",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "bps",
    "number_of_frames",
    "number_of_bytes",
}


#: Lets MP4's muxer write names of any kind, as cameras do, where few programs look for a title.
KEYS: Final = {"movflags": "use_metadata_tags"}


def copied_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """``tags`` without those that only held for the old file."""

    def stale(name: str) -> bool:
        # mkvmerge's statistics may end in a language: BPS-eng.
        return name.lower().split("-")[0] in _STALE or name.lower().startswith("_statistics")

    kept = {name: value for name, value in tags.items() if not stale(name)}
    if "creation_time" in kept:  # a file that has it in two places is read as if there were two
        kept["creation_time"] = kept["creation_time"].split(";")[0]
    return kept


def stream_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """`copied_tags` of a stream. MP4 reads a stream's title as ``name`` but writes ``title``."""
    kept = copied_tags(tags)
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    return kept


def need_keys(container: str, tags: Mapping[str, str], *, rate: Fraction) -> bool:
    """Whether `KEYS` keep all ``tags``, and without them some of a camera (``com.*``) are lost."""
    lost = lost_tags(container, tags, rate=rate)
    of_camera = any(name.lower().startswith("com.") for name in lost)
    return of_camera and not lost_tags(container, tags, rate=rate, keys=True)


def lost_tags(
    container: str, tags: Mapping[str, str], *, rate: Fraction, keys: bool = False
) -> list[str]:
    """Names of those ``tags`` of a file that the muxer ``container`` drops or changes.

    ``rate``: frames a second, which a timecode has to fit. ``keys``: with `KEYS`.
    """
    if container not in ("mp4", "mov"):
        return []  # Matroska takes any
    written = BytesIO()
    with av.open(written, "w", format=container, options=KEYS if keys else {}) as trial:
        stream = trial.add_mux_stream("mpeg4", rate, width=16, height=16)
        trial.metadata.update(tags)
        packet: av.Packet[Any] = av.Packet(b"\0")
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        trial.mux(packet)
    written.seek(0)
    with av.open(written) as trial_in:
        found = trial_in.streams[0].metadata | trial_in.metadata  # a timecode is of the stream
        kept = {name.lower(): value for name, value in copied_tags(found).items()}
    return [name for name, value in tags.items() if kept.get(name.lower()) != value]
