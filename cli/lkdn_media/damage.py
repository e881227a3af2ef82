"""What was wrong with a source."""

from dataclasses import dataclass

from lkdn_media.counts import counted

__all__ = ["Damage"]


@dataclass(slots=True)
class Damage:
    """What was wrong with a source that could be read all the same."""

    bad_packets: int = 0
    corrupt_frames: int = 0
    moved_frames: int = 0
    scaled_frames: int = 0
    refused_packets: int = 0
    ends_early: bool = False
    reshaped: bool = False

    def include(self, copied: "Damage") -> None:
        """Add what was wrong with streams that were ``copied``."""
        self.refused_packets += copied.refused_packets
        self.ends_early |= copied.ends_early

    def __bool__(self) -> bool:
        return bool(str(self))

    def __str__(self) -> str:
        parts = [
            (self.bad_packets, "packet", "could not be decoded"),
            (self.corrupt_frames, "frame", "found damaged"),
            (self.moved_frames, "frame", "moved, having come late"),
            (self.scaled_frames, "frame", "unlike the first, made like it"),
            (self.refused_packets, "packet", "beside the video too damaged to be copied"),
        ]
        texts = [f"{counted(number, thing)} {text}" for number, thing, text in parts if number]
        if self.reshaped:
            texts.append("the shape of pixels changes on the way, and all got the first one")
        return ", ".join(texts + ["the file ends before its time"] * self.ends_early)
