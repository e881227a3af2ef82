"""The last look at a new file: what it must not let through."""

from pathlib import Path

import av
import pytest

from lkdn_core.errors import LKDNError
from lkdn_media import verify as module
from lkdn_media.verify import verify
from tests.cli.clips import Clip, make_clip

FRAMES = 24


@pytest.fixture(params=["all of it", "at places"])
def clip(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several keyframes, looked at in both ways."""
    if request.param == "at places":
        monkeypatch.setattr(module, "_CHEAP", 0)
    path = tmp_path / "clip.mkv"
    make_clip(path, Clip(pts=range(FRAMES), options={"g": "6"}))
    return path


def last_keyframe(path: Path) -> int:
    """Where in the file the samples of the last keyframe lie."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        keyframes = [bytes(packet) for packet in packets if packet.size and packet.is_keyframe]
    assert len(keyframes) == FRAMES // 6
    return path.read_bytes().index(keyframes[-1])


def test_a_whole_file_passes(clip: Path) -> None:
    verify(clip, FRAMES)


def test_missing_frames_are_counted(clip: Path) -> None:
    with pytest.raises(LKDNError, match=f"holds {FRAMES} frames instead of {FRAMES + 1}"):
        verify(clip, FRAMES + 1)
    clip.write_bytes(clip.read_bytes()[: last_keyframe(clip)])
    with pytest.raises(LKDNError, match="frames instead of"):
        verify(clip, FRAMES)


def test_a_keyframe_that_does_not_decode(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = last_keyframe(clip)
    data[start + 6 : start + 60] = b"\xff" * 54  # behind what tells that it is a keyframe
    clip.write_bytes(data)
    with pytest.raises(LKDNError, match="decoded"):
        verify(clip, FRAMES)


def test_of_a_short_file_all_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what no other picture begins with."""
    path = make_clip(tmp_path / "clip.mkv", Clip(pts=range(FRAMES), options={"g": "6", "bf": "0"}))
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    other = bytes(next(p for p in reversed(packets) if not p.is_keyframe))
    data = path.read_bytes()
    path.write_bytes(data.replace(other, other[:6] + b"\xff" * (len(other) - 6)))
    with pytest.raises(LKDNError, match="decoded"):
        verify(path, FRAMES)
    monkeypatch.setattr(module, "_CHEAP", 0)
    verify(path, FRAMES)
