"""Tags of files and streams: which hold for the new file, and which it can't hold."""

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import av

__all__ = ["KEYS", "copied_tags", "language_in", "lost_tags", "need_keys", "stream_tags"]

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
#: FFmpeg's reading of a field in WMV that nobody filled in.
_NO_DATE: Final = "1970-01-01T00:00:00"
#: Containers that take some tags and some languages only.
_WITH_LISTS: Final = ("mp4", "mov")
#: Languages with two codes in ISO 639-2; QuickTime's own list has one of each, or none.
_CODES: Final = (
    *(("alb", "sqi"), ("arm", "hye"), ("baq", "eus"), ("bur", "mya"), ("chi", "zho")),
    *(("cze", "ces"), ("dut", "nld"), ("fre", "fra"), ("geo", "kat"), ("ger", "deu")),
    *(("gre", "ell"), ("ice", "isl"), ("mac", "mkd"), ("mao", "mri"), ("may", "msa")),
    *(("per", "fas"), ("rum", "ron"), ("slo", "slk"), ("tib", "bod"), ("wel", "cym")),
)
_OTHER_CODE: Final = dict(_CODES) | {later: first for first, later in _CODES}
#: Lets MP4's muxer write names of any kind, as cameras do, where few programs look for a title.
KEYS: Final = "use_metadata_tags"


def copied_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """``tags`` without those that only held for the old file."""

    def stale(name: str) -> bool:
        # mkvmerge's statistics may end in a language: BPS-eng.
        return name.lower().split("-")[0] in _STALE or name.lower().startswith("_statistics")

    kept = {name: value for name, value in tags.items() if not stale(name)}
    if "creation_time" in kept:  # a file that has it in two places is read as if there were two
        kept["creation_time"] = kept["creation_time"].split(";")[0]
    if kept.get("creation_time", "").startswith(_NO_DATE):
        del kept["creation_time"]
    return kept


def stream_tags(tags: Mapping[str, str], container: str) -> dict[str, str]:
    """`copied_tags` of a stream, as ``container`` takes them.

    MP4 reads a stream's title as ``name`` but writes ``title``.
    """
    kept = copied_tags(tags)
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    if "language" in kept:
        kept["language"] = language_in(container, kept["language"]) or kept["language"]
    return kept


@cache
def language_in(container: str, language: str) -> str | None:
    """The code for ``language``, a tag of a stream, that ``container`` keeps, if there is one."""
    if container not in _WITH_LISTS or language in ("", "und"):  # the latter is for none
        return language
    for code in (language, _OTHER_CODE.get(language)):
        if code and _read_back(container, {"language": code})[0].get("language") == code:
            return code
    return None


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
    if container not in _WITH_LISTS:
        return []  # Matroska takes any
    of_stream, of_file = _read_back(container, {}, tags, rate=rate, keys=keys)
    found = copied_tags(of_stream | of_file)  # a timecode is of the stream
    kept = {name.lower(): value for name, value in found.items()}
    return [name for name, value in tags.items() if kept.get(name.lower()) != value]


def _read_back(
    container: str,
    of_stream: Mapping[str, str],
    of_file: Mapping[str, str] = MappingProxyType({}),
    *,
    rate: Fraction = Fraction(25),
    keys: bool = False,
) -> tuple[dict[str, str], dict[str, str]]:
    """What becomes of a stream's tags and a file's, which only a file that is whole tells."""
    written, options = BytesIO(), {"movflags": KEYS} if keys else {}
    with av.open(written, "w", format=container, options=options) as trial:
        stream = trial.add_mux_stream("mpeg4", rate, width=16, height=16)
        stream.metadata.update(of_stream)
        trial.metadata.update(of_file)
        packet: av.Packet[Any] = av.Packet(b"\0")
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        trial.mux(packet)
    written.seek(0)
    with av.open(written) as whole:
        return dict(whole.streams[0].metadata), dict(whole.metadata)
