"""Final sizes: ``--width``, ``--height`` and ``--fit``."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from lkdn_core.resize import resize
from lkdn_media.probe import probe
from lkdn_media.sizes import Fit, SizeChoice, choose_scale, final_size, size_warnings
from lkdn_media.source import Source
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, frames, planes, times

LOSSLESS = ["--codec", "ffv1"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A source of 40x24 square pixels."""
    clip = Clip(size=(40, 24), pts=(0,))
    return probe(make_clip(tmp_path_factory.mktemp("size") / "a.mkv", clip))


@pytest.mark.parametrize(
    ("width", "height", "fit", "expected", "crop"),
    [
        (60, None, "contain", (60, 36), None),
        (None, 36, "contain", (60, 36), None),
        (60, 60, "contain", (60, 36), None),
        (100, 36, "contain", (60, 36), None),
        (57, None, "contain", (56, 34), None),
        (61, 33, "stretch", (60, 32), None),
        (60, 60, "stretch", (60, 60), None),
        (48, 48, "cover", (48, 48), (24, 0, 72, 72)),
        (80, 24, "cover", (80, 24), (0, 18, 120, 36)),
        (120, 72, "cover", (120, 72), (0, 0, 120, 72)),
    ],
)
def test_sizes(
    *,
    source: Source,
    width: int | None,
    height: int | None,
    fit: Fit,
    expected: tuple[int, int],
    crop: tuple[int, int, int, int] | None,
) -> None:
    size = final_size(source, SizeChoice(width, height, fit), scale=3, multiples=(2, 2))
    assert size is not None
    assert ((size.width, size.height), size.crop) == (expected, crop)


@pytest.mark.parametrize(
    ("choice", "scale"),
    [
        (SizeChoice(), 4),
        (SizeChoice(width=20), 2),
        (SizeChoice(width=80), 2),
        (SizeChoice(width=81), 3),
        (SizeChoice(height=96), 4),
        (SizeChoice(60, 72, "cover"), 3),
        (SizeChoice(60, 72, "contain"), 2),
        (SizeChoice(factor=Fraction(1)), 2),
        (SizeChoice(factor=Fraction(5, 2)), 3),
        (SizeChoice(factor=Fraction(8)), 4),
    ],
)
def test_the_smallest_scale_that_reaches_it(source: Source, choice: SizeChoice, scale: int) -> None:
    assert choose_scale(source, choice, (2, 3, 4)) == scale


def test_pixels_come_out_square(source: Source) -> None:
    """PAL in 16:9: 64:45 pixels."""
    film = replace(source, width=720, height=576, sample_aspect_ratio=Fraction(64, 45))
    size = final_size(film, SizeChoice(height=1080), scale=4, multiples=(2, 2))
    assert size is not None
    assert (size.width, size.height) == (1920, 1080)


def test_what_the_network_does_not_reach(source: Source) -> None:
    """5.33 times the width of a DVD's picture."""
    film = replace(source, width=720, height=576, sample_aspect_ratio=Fraction(64, 45))
    choice = SizeChoice(height=2160)
    assert choose_scale(film, choice, (2, 3, 4)) == 4
    size = final_size(film, choice, scale=4, multiples=(2, 2))
    assert size is not None
    assert (size.width, size.height) == (3840, 2160)
    (told,) = size_warnings(film, choice, size, scale=4)
    assert told == "the network enlarges 4 times, bicubic the rest: 1.33 times"
    smaller = replace(size, width=1920, height=1080)
    assert size_warnings(film, SizeChoice(height=1080), smaller, scale=4) == []


def test_sides_are_those_one_sees(source: Source) -> None:
    turned = replace(source, display_matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    size = final_size(turned, SizeChoice(height=60), scale=2, multiples=(2, 2))
    assert size is not None
    assert (size.width, size.height) == (60, 36)


@pytest.mark.parametrize(("width", "height"), [(60, 36), (100, 60)])
def test_a_file_of_the_wished_size(
    *, tmp_path: Path, lkdn_video: Command, width: int, height: int
) -> None:
    """Resized in RGB after the network, which here repeats each pixel, two of one."""
    clip = Clip(size=(40, 24), codec="magicyuv", pix_fmt="gbrp", options={}, pts=(0, 1, 5))
    here, there = make_clip(tmp_path / "a.mov", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *LOSSLESS, "--scale", "2", "--height", str(height)) == 0
    assert times(there) == times(here)
    for old, new in zip(frames(here), frames(there), strict=True):
        assert (new.width, new.height) == (width, height)
        rgb = old.to_ndarray(format="rgb24").repeat(2, 0).repeat(2, 1)
        expected = resize(torch.from_numpy(rgb).movedim(-1, 0).double(), height, width)
        got = torch.from_numpy(new.to_ndarray(format="rgb24")).movedim(-1, 0)
        inside = (..., slice(4, -4), slice(4, -4))
        assert (expected - got)[inside].abs().max() < 0.6
        assert (expected - got).abs().max() < 12


def test_chroma_stays_in_place(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(size=(40, 24), pts=(0,))), tmp_path / "b.mkv"
    assert lkdn_video(here, there, *LOSSLESS, "--width", "60") == 0
    for before, after in zip(planes(frames(here)[0]), planes(frames(there)[0]), strict=True):
        expected = resize(torch.from_numpy(before.astype(np.float64)), *after.shape).numpy()

        def distance(shift: int, expected=expected, after=after) -> float:  # type: ignore[no-untyped-def]
            return float(np.abs(np.roll(expected, shift, 1) - after)[4:-4, 4:-4].mean())

        assert distance(0) < 2
        assert distance(0) < min(distance(-1), distance(1)) / 2
        for shift in (-1, 1):  # nor by half a sample
            half = (expected + np.roll(expected, shift, 1)) / 2
            assert distance(0) < float(np.abs(half - after)[4:-4, 4:-4].mean())


def test_an_anamorphic_file_keeps_its_shape(tmp_path: Path, lkdn_video: Command) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(size=(40, 30), sar=Fraction(4, 3), pts=(0,)))
    there = tmp_path / "b.mp4"
    assert lkdn_video(here, there, "--height", "36") == 0
    with av.open(str(there)) as result:
        stream = result.streams.video[0]
        assert (stream.width, stream.height) == (64, 36)
        assert stream.sample_aspect_ratio in (None, 1)


@pytest.mark.parametrize("rotation", [None, 90])
@pytest.mark.parametrize(
    ("scale", "size"), [("1", (40, 32)), ("1.5", (60, 48)), ("2.5", (100, 80)), ("2.0", (80, 64))]
)
def test_scales_between_those_of_the_network(
    tmp_path: Path, lkdn_video: Command, scale: str, size: tuple[int, int], rotation: int | None
) -> None:
    """The pixels keep their shape, as with the network's own."""
    clip = Clip(size=(40, 32), sar=Fraction(4, 3), pts=(0,), rotation=rotation)
    here, there = make_clip(tmp_path / "a.mp4", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there, "--scale", scale) == 0
    with av.open(str(there)) as result:
        stream = result.streams.video[0]
        assert (stream.width, stream.height) == size
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    before, after = frames(here)[0], frames(there)[0]
    assert after.rotation == before.rotation
    smaller = after.reformat(*clip.size, interpolation="AREA").to_ndarray(format="gray")
    assert np.abs(smaller.astype(int) - before.to_ndarray(format="gray")).mean() < 4


def test_the_scale_follows_and_is_shown(
    tmp_path: Path,
    nearest: dict[int, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from lkdn_cli.video import main

    here = make_clip(tmp_path / "a.mkv", Clip(size=(40, 24), pts=(0,)))
    there = str(tmp_path / "b.mkv")
    assert main([str(here), there, "--height", "60", "--dry-run"]) == 0
    assert "yuv420p -> x3 -> libx264 100x60 yuv420p" in capsys.readouterr().out
    weights = ["--weights", str(nearest[2])]
    assert main([str(here), there, "--height", "41", *weights, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "yuv420p -> x2 -> libx264 68x40 yuv420p" in said.out
    assert (
        main([str(here), there, "--width", "55", "--height", "41", "--fit", "stretch", *weights])
        == 0
    )
    assert "warning: 55x41 is written as 56x40, for whole chroma samples" in capsys.readouterr().err
