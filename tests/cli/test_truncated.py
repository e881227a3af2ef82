"""Files cut off somewhere: all that one careful thread can decode is in the output."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lkdn_media.damage import Damage
from lkdn_media.decode import decode_pictures
from lkdn_media.probe import probe
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command

CLIP = Clip(size=(64, 48), pts=range(40), options={"g": "10", "bf": "2", "preset": "veryfast"})
FAST = replace(CLIP, container_options={"movflags": "faststart"})
BARE = replace(CLIP, codec="rawvideo", options={})
MPEG4 = replace(CLIP, codec="mpeg4", options={"g": "10"}, time_base=Fraction(1, 25))


def decodable(path: Path) -> list[int | None]:
    """Timestamps of all frames one thread gets out."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return found
            except av.FFmpegError:
                packet, packets = None, iter(())
            try:
                found += [frame.pts for frame in stream.decode(packet)]
            except av.FFmpegError:
                continue


@pytest.mark.parametrize(
    ("name", "clip"),
    [("a.mp4", FAST), ("a.mkv", CLIP), ("a.avi", MPEG4), ("a.y4m", BARE)],
    ids=["mp4", "mkv", "avi", "y4m"],
)
def test_all_that_can_be_decoded_is_there(tmp_path: Path, name: str, clip: Clip) -> None:
    path = make_clip(tmp_path / name, clip)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(packets) == 40
    for packet in packets[1:36:5]:
        assert packet.pos is not None
        cut = tmp_path / f"cut{path.suffix}"
        cut.write_bytes(path.read_bytes()[: packet.pos + packet.size // 2])
        damage = Damage()
        pictures = list(decode_pictures(probe(cut), damage))
        assert [picture.pts for picture in pictures] == decodable(cut)
        assert damage


@pytest.mark.parametrize("start", [(), ("--start", "0.2")], ids=["whole", "part"])
def test_an_end_between_two_packets_is_told(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    start: tuple[str, ...],
) -> None:
    """Only the count in the head of MP4 tells it."""
    path = make_clip(tmp_path / "a.mp4", FAST)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    for end, code in ((max(place for place in places if place), 3), (None, 0)):
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(path.read_bytes()[:end])
        assert lkdn_video(cut, tmp_path / "b.mkv", "-y", *start) == code
        assert ("the file ends before its time" in capsys.readouterr().err) == (code == 3)


def test_a_length_that_was_copied_along_is_none(tmp_path: Path) -> None:
    """FFmpeg hands the tag of a Matroska track on to any file, even one it cuts."""
    here = tmp_path / "a.nut"
    with av.open(str(make_clip(tmp_path / "a.mkv"))) as source, av.open(str(here), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["DURATION"] = "00:00:09.000000000"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    damage = Damage()
    assert len(list(decode_pictures(probe(here), damage))) == 7
    assert not damage


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.flv", {}), ("a.mp4", {"movflags": "empty_moov+default_base_moof+frag_keyframe"})],
    ids=["flv", "fragmented mp4"],
)
def test_a_file_that_ends_inside_a_packet_is_cut_off(
    tmp_path: Path, lkdn_video: Command, name: str, options: dict[str, str]
) -> None:
    """Its head does not tell how long it is."""
    clip = replace(CLIP, audio=({},), container_options=options)
    here = make_clip(tmp_path / name, clip)
    with av.open(str(here)) as container:
        ends = [p.pos + p.size for p in container.demux(audio=0) if p.pos]
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    whole = here.read_bytes()
    for end in (ends[4], ends[8]):
        here.write_bytes(whole[: end - 3])
        assert lkdn_video(here, tmp_path / "b.mkv", "-q", "-y") == 3
