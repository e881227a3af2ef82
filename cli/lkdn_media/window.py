"""Which packets of copied streams belong to a part of a video."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Any, Final

import av
from av.container import InputContainer
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from lkdn_media.demux import JOINED, codec_name, is_cover, seconds_of, shift_packet
from lkdn_media.source import Source

__all__ = ["Window"]

#: Seconds; a subtitle that began earlier than that before a part is not looked for.
_LONGEST_SUBTITLE: Final = 300
#: Seconds by which streams in a file may be out of step.
_STEP: Final = 30
_PGS, _DVD = "pgssub", "dvdsub"
#: What FFmpeg gives, in milliseconds, for a subtitle without an end.
_ENDLESS: Final = 2**32 - 1
#: The kind of PGS segment that comes first in what is shown together.
_COMPOSITION: Final = b"\x16"


@dataclass(slots=True)
class Window:
    """The part of a file that is copied, in seconds of its clock; ``end`` may be infinite."""

    start: Fraction
    end: Fraction | float
    joined: bool  # a file whose clock only holds from the start on
    # By stream: what is shown until something else is, and the keyframe that pictures begin with.
    _shown: "dict[int, list[av.Packet[Any]]]" = field(default_factory=dict)
    _keyframes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Source) -> "Window | None":
        if source.span is None:
            return None
        first, end = source.span.first, source.span.end
        return cls(
            first * source.time_base,
            math.inf if end is None else end * source.time_base,
            source.container in JOINED,
        )

    def seek(self, container: InputContainer) -> None:
        """Skip what is far before, but not subtitles that may still be shown."""
        before = max(Fraction(_LONGEST_SUBTITLE), *(_priming(s) for s in container.streams))
        if not self.joined and self.start > before:
            with suppress(av.FFmpegError):
                container.seek(int((self.start - before) * av.time_base))

    def is_over(self, packet: "av.Packet[Any]") -> bool:
        """Whether all streams, which don't keep step to the packet, have left it behind."""
        return packet.size > 0 and seconds_of(packet) > self.end + _STEP

    def take(self, packet: "av.Packet[Any]") -> "Iterator[av.Packet[Any]]":
        """``packet`` if it belongs in here, after what was shown already when the part begins."""
        if packet.pts is None or is_cover(packet.stream):
            yield packet
            return
        if self._shown and seconds_of(packet) >= self.start:
            yield from self.rest()
        kind = packet.stream.type
        if kind == "video":
            if self._has_picture(packet, packet.pts):
                yield packet
            return
        if kind == "subtitle" and not self._cut_subtitle(packet, packet.pts):
            return
        if self.start - _priming(packet.stream) <= packet.pts * packet.time_base < self.end:
            yield packet

    def rest(self) -> "Iterator[av.Packet[Any]]":
        """What is shown when the part begins, and not yet taken."""
        shown, self._shown = self._shown, {}
        for packet in chain.from_iterable(shown.values()):
            packet.pts = packet.dts = math.ceil(self.start / packet.time_base)
            yield packet

    def _cut_subtitle(self, packet: "av.Packet[Any]", pts: int) -> bool:
        """Cut a subtitle to the part; whether something of it is left to be looked at now."""
        base = packet.time_base
        if not packet.duration and codec_name(packet.stream) == _DVD:
            packet.duration = math.ceil(_stop_time(packet) / base)
        missing = math.ceil(self.start / base) - pts
        if not packet.duration and missing > 0:
            # Pictures are shown until the next one comes, which may be an empty one.
            starts = codec_name(packet.stream) != _PGS or bytes(packet)[:1] == _COMPOSITION
            before = [] if starts else self._shown.get(packet.stream_index, [])
            self._shown[packet.stream_index] = [*before, packet]
            return False
        if packet.duration and missing > 0:
            if packet.duration <= missing:
                return False
            shift_packet(packet, missing)
            packet.duration -= missing
        if packet.duration and self.end < math.inf and packet.pts is not None:
            packet.duration = min(packet.duration, max(0, math.floor(self.end / base) - packet.pts))
        return True

    def _has_picture(self, packet: "av.Packet[Any]", pts: int) -> bool:
        """Whether ``packet``, of another video, is in the part and what it leans on too."""
        index = packet.stream_index
        if index not in self._keyframes:
            if not packet.is_keyframe or pts * packet.time_base < self.start:
                return False
            self._keyframes[index] = pts
        # The last ones may lean on pictures that are shown after the end, so dts counts there.
        return pts >= self._keyframes[index] and seconds_of(packet) < self.end


def _stop_time(packet: "av.Packet[Any]") -> Fraction:
    """Seconds after which a DVD's subtitle ends itself, 0 where it doesn't."""
    decoder = av.CodecContext.create("dvdsub", "r")
    assert isinstance(decoder, SubtitleCodecContext)
    with suppress(av.FFmpegError):
        found = decoder.decode2(packet)
        if found is not None and found.end_display_time < _ENDLESS:
            return Fraction(found.end_display_time, 1000)
    return Fraction(0)


def _priming(stream: Stream) -> Fraction:
    """Seconds of sound that players leave out at the start of ``stream``, wherever that is now."""
    if not isinstance(stream, av.AudioStream) or not stream.codec_context:
        return Fraction(0)
    context = stream.codec_context
    return Fraction(context.initial_padding, context.sample_rate or 1)
