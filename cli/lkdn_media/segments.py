"""Segments of a new video, kept as the encoder's own packets until all of them are there.

A segment is two files: the packets one after another, and a record of them; it counts from when the
record is there. From a container packets would come back changed: rounded times, other start codes.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

import av
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from lkdn_core.errors import LKDNError
from lkdn_media.damage import Damage
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.records import read_record
from lkdn_media.writer import make_encoder

__all__ = ["Mark", "Segment", "SegmentWriter", "is_whole", "read_segment"]

#: Bytes read at once.
_CHUNK: Final = 2**20
#: What encoders say about their work; players don't need it.
_CHATTER: Final = "quality_stats"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where reading the source was at the end of a segment.

    ``checksum``: CRC-32 of the last picture. ``damage``: found up to there.
    """

    checksum: int
    damage: Damage


@dataclass(frozen=True, slots=True)
class Segment:
    """The record of a segment. ``sizes``, ``ranks`` (places in the order of display), ``durations``
    and ``keyframes`` go by packet, ``times`` by displayed picture, ticks of the video's time base.

    ``side_data``: (packet, kind, size) of what lies behind that packet. ``extradata``: as hex.
    ``checksum``: CRC-32 of the file of packets.
    """

    extradata: str
    sizes: list[int]
    ranks: list[int]
    durations: list[int]
    keyframes: list[bool]
    side_data: list[tuple[int, str, int]]
    checksum: int
    times: list[int]
    mark: Mark

    @property
    def frames(self) -> int:
        """How many pictures it holds."""
        return len(self.times)

    @property
    def bytes(self) -> int:
        """The size of the file of packets."""
        return sum(self.sizes) + sum(size for _, _, size in self.side_data)

    @property
    def delay(self) -> int:
        """By how many places the latest picture comes behind its turn."""
        return max(turn - rank for turn, rank in enumerate(self.ranks))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The record at ``path``. Raises ``ValueError`` where it is gone or damaged."""
        record = read_record(path)
        if record is None:
            raise ValueError("no record")
        mark = record.pop("mark")
        return cls(**record, mark=Mark(mark["checksum"], Damage(**mark["damage"])))


class SegmentWriter:
    """Encodes one segment into the file ``path``. See `Job.add` for what comes then.

    Raises ``ArgumentError`` where the encoder refuses its settings.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        # Nothing is written to the container, but its kind decides what an encoder's head holds.
        self._container = av.open(BytesIO(), "w", format=plan.container)
        path.unlink(missing_ok=True)  # it may be a link to somewhere else
        self._file = path.open("xb")
        self._opened = ExitStack()
        try:
            self._encoder = make_encoder(plan, self._container)
            self._opened.callback(self._encoder.close)
            self._encoder.open()
        except BaseException:
            self.close()
            raise
        self._ranks: dict[int, int] = {}  # by pts, of pictures still in the encoder
        self._checksum = 0
        self._record: dict[str, list[Any]] = {
            name: [] for name in ("sizes", "ranks", "durations", "keyframes", "side_data", "times")
        }

    def write(self, picture: Picture) -> None:
        """Encode one enlarged picture."""
        times = self._record["times"]
        self._ranks[picture.pts] = len(times)
        times.append(picture.pts)
        self._keep(self._encoder.encode(picture))

    def finish(self, mark: Mark) -> Segment:
        """Flush the encoder and bring the packets to the disk."""
        self._keep(self._encoder.flush())
        if self._ranks:
            raise LKDNError(f"the encoder kept {len(self._ranks)} of its pictures to itself")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        extradata = self._encoder.extradata.hex()
        return Segment(**self._record, extradata=extradata, checksum=self._checksum, mark=mark)

    def close(self) -> None:
        """Let go of the encoder and the file, which is good for nothing before `finish`."""
        self._opened.close()
        self._container.close()
        with suppress(OSError):  # a full disk, which was an error before
            self._file.close()

    def _keep(self, packets: "Iterable[av.Packet[Any]]") -> None:
        record = self._record
        for packet in packets:
            rank = None if packet.pts is None else self._ranks.pop(packet.pts, None)
            if rank is None:
                raise LKDNError(f"the encoder gave a packet at {packet.pts}, where no picture was")
            record["ranks"].append(rank)
            record["durations"].append(packet.duration or 0)
            record["keyframes"].append(packet.is_keyframe)
            record["sizes"].append(packet.size)
            self._append(bytes(packet))
            for extra in packet.iter_sidedata():
                if extra.data_type != _CHATTER:
                    turn = len(record["sizes"]) - 1
                    record["side_data"].append((turn, extra.data_type, extra.data_size))
                    self._append(bytes(extra))

    def _append(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._file.write(data)


def is_whole(segment: Segment, path: Path) -> bool:
    """Whether the packets of ``segment`` are in ``path`` as they were written."""
    checksum = size = 0
    try:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                checksum, size = zlib.crc32(data, checksum), size + len(data)
    except OSError:
        return False
    return (checksum, size) == (segment.checksum, segment.bytes)


def read_segment(segment: Segment, path: Path) -> "Iterator[tuple[int, av.Packet[Any]]]":
    """The packets of a segment in the order of decoding, each with its place in that of display.

    They have no times yet. Raises ``LKDNError`` where the file is not what was written.
    """
    checksum = 0
    extras: dict[int, list[tuple[str, int]]] = {}
    for turn, kind, size in segment.side_data:
        extras.setdefault(turn, []).append((kind, size))
    with path.open("rb") as file:

        def read(size: int) -> bytes:
            nonlocal checksum
            data = file.read(size)
            checksum = zlib.crc32(data, checksum)
            return data

        for turn, size in enumerate(segment.sizes):
            packet: av.Packet[Any] = av.Packet(read(size))
            packet.duration = segment.durations[turn]
            packet.is_keyframe = segment.keyframes[turn]
            for kind, extra in extras.get(turn, ()):
                _add_side_data(packet, kind, read(extra))
            yield segment.ranks[turn], packet
    if checksum != segment.checksum:
        raise LKDNError(f"{path}: was changed after it was written")


def _add_side_data(packet: "av.Packet[Any]", kind: Any, data: bytes) -> None:
    extra = PacketSideData(packet_sidedata_type_from_literal(kind), len(data))  # type: ignore[call-arg]
    extra.update(data)
    packet.set_sidedata(extra)
