"""The shape of pixels, whoever has to tell it: the codec, or the container."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from lkdn_core.errors import LKDNError
from lkdn_media.matroska_tracks import write_pixel_shape
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, frames, times


@pytest.mark.parametrize(
    ("target", "codec"),
    [
        *[("b.mkv", codec) for codec in ("libx264", "libx265", "ffv1", "libvpx-vp9", "libsvtav1")],
        *[("b.mp4", codec) for codec in ("libx264", "libvpx-vp9", "libsvtav1", "mpeg4")],
        ("b.webm", "libvpx-vp9"),
        ("b.mov", "prores_ks"),
        ("b.mkv", "prores_ks"),
    ],
)
def test_pixels_keep_their_shape(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    target: str,
    codec: str,
) -> None:
    here, there = tmp_path / "a.mkv", tmp_path / target
    make_clip(here, Clip(sar=Fraction(16, 15), pts=(0, 2, 3)))
    assert lkdn_video(here, there, "-q", "--codec", codec) == 0
    assert "pixels shaped" not in capsys.readouterr().err
    # The checks of the sums over Matroska's elements are on.
    with av.open(str(there), options={"err_detect": "crccheck+explode"}) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
        assert "stereo_mode" not in result.streams.video[0].metadata
    assert times(there) == pytest.approx([0, 0.08, 0.12], abs=0.0006)
    assert (frames(there)[0].width, frames(there)[0].height) == (68, 52)


@pytest.mark.parametrize("ratio", ["64/45", "40/33", "12/11", "1/2", "118/81", "2/1", "45/44"])
@pytest.mark.parametrize("size", [(90, 72), (352, 16), (720, 40)])
def test_shapes_fit_into_the_fields(
    tmp_path: Path, lkdn_video: Command, ratio: str, size: tuple[int, int]
) -> None:
    here, there = tmp_path / "a.mp4", tmp_path / "b.mkv"
    make_clip(here, Clip(size=size, sar=Fraction(ratio), pts=(0,)))
    assert lkdn_video(here, there, "-q", "--codec", "ffv1") == 0
    with av.open(str(there)) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(ratio)


def test_the_shape_of_stereo_3d_is_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two views squeezed into one picture; FFmpeg's muxer writes whole ones only."""
    plain, here = make_clip(tmp_path / "plain.mkv"), tmp_path / "a.mkv"
    with av.open(str(plain)) as source, av.open(str(here), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["stereo_mode"] = "top_bottom"
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    written = here.read_bytes()
    assert written.count(b"\x54\xba\x81\x0d") == 1  # the display height: 13 of 26
    for height, expected in ((b"\x0d", []), (b"\x1a", ["pixels shaped 1/2 are shown as square"])):
        here.write_bytes(written.replace(b"\x54\xba\x81\x0d", b"\x54\xba\x81" + height))
        for ending, lines in (("mkv", expected), ("mp4", [])):
            assert lkdn_video(here, tmp_path / f"b.{ending}", "-q", "-y") == 0
            said = capsys.readouterr().err
            assert ["pixels shaped 1/2 are shown as square"] * ("pixels shaped" in said) == lines
            assert ("stereo 3D is not kept" in said) == (ending == "mp4")


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    for path in (make_clip(tmp_path / "a.mkv"), make_clip(tmp_path / "a.mp4")):
        before = path.read_bytes()
        with path.open("r+b") as file, pytest.raises(LKDNError):
            write_pixel_shape(file, Fraction(4, 3))
        assert path.read_bytes() == before
