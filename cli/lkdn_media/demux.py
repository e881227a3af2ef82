"""Opening a media file and reading its packets."""

import errno
import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.codec.context import ThreadType
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition, Stream

from lkdn_core.errors import LKDNError

__all__ = [
    "ALPHA_DECODERS",
    "JOINED",
    "codec_name",
    "is_animated_avif",
    "is_cover",
    "is_cut_off",
    "is_repeat",
    "main_video",
    "open_decoder",
    "open_media",
    "read_packets",
    "seconds_of",
    "shift_packet",
]

#: libvpx reads alpha, which FFmpeg's own decoders leave out.
ALPHA_DECODERS: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
#: Text files that name other files or addresses; a video file must not make us open those.
_PLAYLISTS: Final = {"concat", "dash", "hls", "imf", "sdp"}
#: Containers in which recordings are joined, and whose times then hold from the start on only.
JOINED: Final = ("mpegts", "mpeg")
#: How far into a recording its streams are looked for, in microseconds and bytes.
_LOOK_FAR: Final = {"analyzeduration": "60000000", "probesize": "50000000"}
#: FFmpeg's AVFMT_TS_DISCONT: containers whose clock may jump.
_TS_DISCONT: Final = 0x0200
#: In seconds: how far a clock may go back, or ahead, before that counts as a joint.
_BACK: Final = Fraction(1, 10)
_GAP: Final = 10


def open_media(path: Path, *, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a local media file. Raises ``LKDNError`` with one line for people.

    ``hwaccel``: what helps its video decoder, if it can.
    """
    if not path.exists():
        raise LKDNError(f"{path}: no such file")
    if not path.is_file():
        raise LKDNError(f"{path}: is not a file")
    try:
        container = _open(path, hwaccel, {})
        if container.format.name in JOINED and _lacks_sound(container):
            container.close()
            container = _open(path, hwaccel, _LOOK_FAR)
    except PermissionError as error:
        raise LKDNError(f"{path}: may not be read") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise LKDNError(f"{path}: can't be opened: {error.strerror}") from error
        raise LKDNError(f"{path}: is not a media file, or is damaged at its start") from error
    if not _PLAYLISTS.isdisjoint(container.format.name.split(",")):
        container.close()
        raise LKDNError(f"{path}: is a playlist, not a media file")
    return container


def _open(path: Path, hwaccel: HWAccel | None, options: dict[str, str]) -> InputContainer:
    # The prefix and the list keep names and contents from reaching other protocols.
    options = options | {"protocol_whitelist": "file"}
    return av.open(f"file:{path}", container_options=options, hwaccel=hwaccel)


def _lacks_sound(container: InputContainer) -> bool:
    """Whether some sound begins later than it is looked for, so that nothing is known of it."""
    contexts = [stream.codec_context for stream in container.streams.audio]
    return any(context is not None and not context.sample_rate for context in contexts)


def main_video(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that isn't a cover, or an AVIF's animation.

    Raises ``LKDNError`` where there is none.
    """
    streams = container.streams.video
    videos = [s for s in streams if not is_cover(s)]
    if not videos:
        raise LKDNError(f"{path}: has no video stream")
    main = max(videos, key=lambda s: s.frames) if is_animated_avif(container) else videos[0]
    if main.codec_context is None:
        raise LKDNError(f"{path}: no decoder for its video stream #{main.index}")
    return main


def is_animated_avif(container: InputContainer) -> bool:
    """Whether this is an AVIF whose first picture is there twice, as a still before the others."""
    return container.metadata.get("major_brand") == "avis"


def is_cover(stream: Stream) -> bool:
    """Whether ``stream`` is a still picture for the whole file."""
    return bool(stream.disposition & Disposition.attached_pic)


def codec_name(stream: Stream) -> str:
    """What ``stream`` is in; ``""`` where it isn't known, as of sound without a decoder."""
    return getattr(stream, "name", None) or ""


def open_decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """A decoder of ``stream`` that gives all there is, in as many threads as it likes."""
    decoder, name = stream.codec_context, stream.codec_context.name
    # In capital letters where it is, needlessly, a tag of the file too.
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if name in ALPHA_DECODERS and tags.get("alpha_mode") == "1":
        with suppress(ValueError):  # not in every build
            other = av.CodecContext.create(ALPHA_DECODERS[name], "r")
            assert isinstance(other, av.VideoCodecContext)
            # What the container says of colours, where the pictures themselves don't.
            other.color_primaries, other.color_trc = decoder.color_primaries, decoder.color_trc
            other.colorspace, other.color_range = decoder.colorspace, decoder.color_range
            decoder = other
    decoder.thread_type = ThreadType.AUTO
    return decoder


def seconds_of(packet: "av.Packet[Any]") -> float:
    """When ``packet`` is decoded, by the clock of its file; minus infinity where it has no time."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return -math.inf if ticks is None else float(ticks * packet.time_base)


def is_cut_off(packet: "av.Packet[Any]") -> bool:
    """Whether the file ends inside ``packet``; broadcasts flag other damage in the same way."""
    return packet.is_corrupt and packet.stream.container.format.name not in JOINED


def is_repeat(packet: "av.Packet[Any]") -> bool:
    """Whether ``packet`` only says that the picture before stays. Decoders take it for the end."""
    return not packet.size and packet.dts is not None


def read_packets(container: InputContainer, indexes: Collection[int]) -> "Iterator[av.Packet[Any]]":
    """Packets of the streams ``indexes`` in the order of the file, then an empty one for each.

    Where recordings were joined, the clock of a transport or program stream jumps; the packets of
    all streams are shifted alike then, so that one part follows the other.
    """
    joints = _Joints() if container.format.flags & _TS_DISCONT else None
    # A joint may show in any stream, so all are read.
    for packet in container.demux():
        if joints is not None and packet.size:
            joints.close(packet)
        if packet.stream.index in indexes:  # stream_index of an empty packet is 0
            yield packet


def shift_packet(packet: "av.Packet[Any]", ticks: int) -> None:
    """Move ``packet`` in time by ``ticks`` of its time base."""
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


@dataclass(slots=True)
class _Position:
    """Where a stream is: the part of the recording, and seconds by its clock and as shifted."""

    part: int
    raw: Fraction
    end: Fraction
    length: Fraction  # of the last packet


class _Joints:
    """Closes the jumps of a clock that all streams share.

    Streams don't cross a joint at the same packet. Whichever is first sets how far the new part is
    shifted: behind all that came before.
    """

    def __init__(self) -> None:
        self._shifts = [Fraction(0)]  # by part
        self._positions: dict[int, _Position] = {}

    def close(self, packet: "av.Packet[Any]") -> None:
        """Shift ``packet`` to where it belongs."""
        if packet.dts is None:
            return
        base = packet.time_base
        raw, length = packet.dts * base, (packet.duration or 0) * base
        if packet.stream.type not in ("video", "audio"):
            shift_packet(packet, round(self._of_its_part(raw) / base))
            return
        here = self._positions.get(packet.stream_index)
        if here is None:
            here = _Position(len(self._shifts) - 1, raw, raw, length)
            self._positions[packet.stream_index] = here
        elif self._jumps(here, raw):
            here.part += 1
            if here.part == len(self._shifts):
                self._shifts.append(max(p.end for p in self._positions.values()) - raw)
            self._shifts[here.part] = max(self._shifts[here.part], here.end - raw)
            length = length or here.length
        shift = self._shifts[here.part]
        here.length = length or raw - here.raw
        here.raw, here.end = raw, raw + shift + here.length
        shift_packet(packet, round(shift / base))

    def _of_its_part(self, raw: Fraction) -> Fraction:
        """The shift of a subtitle, which comes too rarely to tell a joint: to where others are."""
        latest = max((p.end for p in self._positions.values()), default=raw)
        near = (s for s in reversed(self._shifts) if abs(raw + s - latest) <= _GAP)
        return next(near, self._shifts[-1])

    def _jumps(self, here: _Position, raw: Fraction) -> bool:
        # A stream may pause as long as another one goes on.
        latest = max(p.raw for p in self._positions.values() if p.part == here.part)
        return raw < here.raw - _BACK or raw > latest + _GAP
