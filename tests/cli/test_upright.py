"""Videos to be shown turned, in containers that can't say so."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_media.images import read_still
from lkdn_media.probe import probe
from lkdn_media.upright import turning, upright
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames

FFMPEG = shutil.which("ffmpeg")
#: All eight: a, b, c, d of the display matrix.
WAYS = [
    *((1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)),
    *((0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0)),
]


@pytest.mark.parametrize("way", WAYS)
def test_as_the_matrix_says(tmp_path: Path, way: tuple[int, int, int, int]) -> None:
    """Where each pixel goes, by the definition: (x, y) times the matrix."""
    a, b, c, d = way
    matrix = (a, b, 0, c, d, 0, 0, 0, 1)
    source = replace(probe(make_clip(tmp_path / "a.mp4", Clip(pts=(0,)))), display_matrix=matrix)
    pixels = np.arange(15).reshape(3, 5)
    places = {(a * x + c * y, b * x + d * y): pixels[y, x] for y in range(3) for x in range(5)}
    left, top = (min(place[i] for place in places) for i in range(2))
    turned = upright(pixels, source)
    assert {(x + left, y + top): v for (y, x), v in np.ndenumerate(turned)} == places
    graph = av.filter.Graph()
    steps = [s.partition("=") for s in turning(source).split(",") if s]
    nodes = [graph.add_buffer(width=5, height=3, format="gray", time_base=1)]
    nodes += [graph.add(name, settings or None) for name, _, settings in steps]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    graph.vpush(av.VideoFrame.from_ndarray(pixels.astype(np.uint8), "gray"))
    assert np.array_equal(graph.vpull().to_ndarray(), turned)


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("target", ["%d.png", "b.gif", "b.apng"])
def test_turned_pictures(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    target: str,
    rotation: int,
) -> None:
    clip = Clip(tags=Tags.none(), rotation=rotation, pts=range(2))
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / target
    assert lkdn_video(here, there) == 0
    assert "rotation" not in capsys.readouterr().err
    if target == "%d.png":
        new = read_still(tmp_path / "1.png").pixels
    else:
        new = frames(there)[0].to_ndarray(format="rgb24")
    assert new.shape == ((52, 68, 3) if rotation == 180 else (68, 52, 3))
    old = frames(here)[0].to_ndarray(format="rgb24").repeat(2, 0).repeat(2, 1)
    expected = np.rot90(old, rotation // 90).astype(int)  # counter-clockwise, as ``rotation``
    assert np.abs(expected - new).mean() < (9 if target == "b.gif" else 2.5)


@pytest.mark.skipif(FFMPEG is None, reason="needs an ffmpeg program")
def test_as_ffmpeg_turns_them(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(tags=Tags.none(), rotation=90, pts=range(1))
    here = make_clip(tmp_path / "a.mp4", clip)
    assert lkdn_video(here, tmp_path / "%d.png") == 0
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "error", "-i", here, tmp_path / "theirs.png"]
    subprocess.run(command, check=True)
    theirs = read_still(tmp_path / "theirs.png").pixels.repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(theirs - read_still(tmp_path / "1.png").pixels).mean() < 4
