"""GIF and APNG: times, how often they play, colours."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from lkdn_media.palette import Colours
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, durations, frames, times


@pytest.mark.parametrize("segment", ["0", "2"])
@pytest.mark.parametrize("ending", ["apng", "gif"])
def test_animations(tmp_path: Path, lkdn_video: Command, ending: str, segment: str) -> None:
    """In hundredths of a second, which is all GIF can tell."""
    shown = (0, 40, 100, 120, 200)
    clip = Clip(time_base=Fraction(1, 1000), pts=shown, durations=(40, 60, 20, 80, 100))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--segment", segment) == 0
    assert times(there) == [Fraction(t, 1000) for t in shown]
    loops = {"apng": b"acTL\0\0\0\5\0\0\0\0", "gif": b"NETSCAPE2.0\3\1\0\0"}
    assert loops[ending] in there.read_bytes()
    for old, new in zip(frames(here), frames(there), strict=True):
        expected = old.to_ndarray(format="rgb24").repeat(2, 0).repeat(2, 1).astype(int)
        distance = np.abs(expected - new.to_ndarray(format="rgb24")).mean()
        assert distance < (9 if ending == "gif" else 2.5)


def test_pictures_of_a_gif_share_their_colours(
    tmp_path: Path, lkdn_video: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as they have them; else even what stands still would be stored each time."""
    down, across = np.indices((48, 64))
    ramps = np.stack([across * 3, down * 4, across * 0], 2).astype(np.uint8)
    here = tmp_path / "a.mkv"
    with av.open(str(here), "w") as out:
        stream = out.add_stream("ffv1", rate=10, width=64, height=48, pix_fmt="bgr0")
        for number in range(8):
            pixels = ramps.copy()
            pixels[30:34, number : number + 4] = (20, 20, 250) if number > 5 else (99, 99, 0)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="bgr0")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert lkdn_video(here, tmp_path / "b.gif") == 0
    blue = frames(tmp_path / "b.gif")[6].to_ndarray(format="rgb24")[61:67, 13:19]
    assert np.abs(blue.reshape(-1, 3).mean(0) - (20, 20, 250)).max() < 25
    drawn = Colours.drawn
    monkeypatch.setattr(Colours, "drawn", lambda _, frame: drawn(Colours(), frame))
    assert lkdn_video(here, tmp_path / "c.gif") == 0
    shared, own = ((tmp_path / f"{name}.gif").stat().st_size for name in "bc")
    assert shared < 0.7 * own


@pytest.mark.parametrize("ending", ["apng", "gif"])
def test_the_last_picture_of_an_animation_stays(
    tmp_path: Path, lkdn_video: Command, ending: str
) -> None:
    """The muxer of APNG would repeat the delay before it."""
    clip = Clip(time_base=Fraction(1, 100), pts=(0, 10, 20), durations=(10, 10, 200))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / f"b.{ending}"
    assert lkdn_video(here, there, "--segment", "0") == 0
    assert durations(there) == [Fraction(1, 10), Fraction(1, 10), 2]
    if ending == "apng":  # whose checksums FFmpeg doesn't check
        with Image.open(there) as animation:
            shown = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
        assert shown == [100, 100, 2000]


def test_a_gif_says_that_it_can_not_wait_so_long(
    tmp_path: Path, lkdn_video: Command, caplog: pytest.LogCaptureFixture
) -> None:
    long, short = (Clip(time_base=Fraction(1), rate=Fraction(1), pts=(0, 1, n)) for n in (800, 3))
    for clip in (short, long):
        assert "gif shows no picture longer" not in caplog.text
        assert lkdn_video(make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.gif", "-y") == 0
    assert caplog.text.count("gif shows no picture longer than 655.35 s") == 1


def test_a_single_picture_is_no_animation(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=(0,))), tmp_path / "b.apng"
    assert lkdn_video(here, there) == 0
    assert len(frames(there)) == 1
