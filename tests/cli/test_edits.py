"""MP4 whose edits show parts of a track only, as editors that cut without encoding leave them."""

import struct
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest

from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies, times

#: Boxes around a track's edits, and others on the way there.
NESTED: Final = (b"moov", b"trak", b"edts")
RATE: Final = 48000
#: Two parts of 0.12 s, what is between them hidden: how long each is, in 1/48000 s as `Clip`'s
#: files count, and where it begins in the track, which is after what a decoder needs before.
PICTURES: Final = [(5760, 1024), (5760, 1024 + 4 * 512)]  # in 1/12800 s
SOUND: Final = [(5760, 1024), (5760, 1024 + 7680)]  # in samples


def with_edits(data: bytes, tracks: list[list[tuple[int, int]]]) -> bytes:
    """The boxes of ``data`` with the edits of each track replaced by those of ``tracks``."""
    boxes, start = b"", 0
    while start < len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        content = data[start + 8 : start + size]
        if name in NESTED:
            content = with_edits(content, tracks)
        elif name == b"elst":
            edits = tracks.pop(0)
            rows = b"".join(struct.pack(">IiI", length, at, 0x10000) for length, at in edits)
            content = struct.pack(">II", 0, len(edits)) + rows
        boxes += struct.pack(">I4s", len(content) + 8, name) + content
        start += size
    return boxes


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_what_edits_hide_stays_hidden(tmp_path: Path, lkdn_video: Command, ending: str) -> None:
    clip = Clip(pts=range(8), audio=({},), options={"g": "4", "bf": "2"})
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / f"b.{ending}"
    here.write_bytes(with_edits(here.read_bytes(), [PICTURES, SOUND]))
    assert len(times(here)) == 6
    assert lkdn_video(here, there) == 0
    assert times(there) == pytest.approx(times(here), abs=1e-3)
    (old,), (new,) = copies(here), copies(there)
    assert len(old.packets) - len(new.packets) == 9
    distances = np.diff([float(start) for _, start, _ in new.packets if start is not None])
    assert distances.min() > 0.01  # a packet at a cut overlaps with the next one
    assert distances.max() == pytest.approx(1024 / RATE, abs=2e-3)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_fragments_whose_times_repeat_are_no_edits(
    tmp_path: Path, lkdn_video: Command, ending: str
) -> None:
    """FFmpeg's own, of one frame each, whose sound it then takes for cut out."""
    clip = Clip(pts=range(25), audio=({},), options={"bf": "2", "g": "12"})
    whole, here = make_clip(tmp_path / "whole.mp4", clip), tmp_path / "a.mp4"
    there = tmp_path / f"b.{ending}"
    flags = {"movflags": "frag_every_frame+delay_moov"}
    with av.open(str(whole)) as source, av.open(str(here), "w", container_options=flags) as out:
        streams = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    assert lkdn_video(here, there) == 0
    (old,), (new,) = copies(here), copies(there)
    starts = [start for _, start, _ in old.packets]
    assert len(set(starts)) < len(starts)
    assert [data for data, _, _ in new.packets] == [data for data, _, _ in old.packets]
    distances = np.diff([float(start) for _, start, _ in new.packets if start is not None])
    assert distances.min() == pytest.approx(1024 / RATE, abs=2e-3)
