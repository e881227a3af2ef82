"""The picture ``lkdn-video`` writes: colour tags, depth, subsampling, content."""

import struct
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData

from lkdn_cli.video import main
from lkdn_core import FrameFormat, Upscaler
from lkdn_core.errors import FormatError
from lkdn_media.formats import nearest_planar, repacked
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, colour, frames, planes

LOSSLESS = {"codec": "ffv1", "options": {}}
HEVC = {"codec": "libx265", "options": {"x265-params": "log-level=none:cutree=0:lossless=1"}}


@pytest.mark.parametrize(
    ("tags", "more"),
    [
        (Tags(), {}),
        (Tags(5, 6, 5, 1, 1), {}),
        (Tags(6, 6, 6, 2, 2), {}),
        (Tags(9, 16, 9, 1, 3), {"pix_fmt": "yuv420p10le", **HEVC}),
        (Tags(9, 18, 9, 1, 3), {"pix_fmt": "yuv420p10le", **HEVC}),
    ],
    ids=["bt709", "pal", "full-center", "pq", "hlg"],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_colour_tags_are_copied(
    tmp_path: Path, lkdn_video: Command, tags: Tags, more: dict[str, object], suffix: str
) -> None:
    here = make_clip(tmp_path / f"a{suffix}", replace(Clip(), tags=tags, **more))
    there = tmp_path / f"b{suffix}"
    assert lkdn_video(here, there) == 0
    assert {colour(f) for f in frames(there)} == {tuple(vars_of(tags))}


def vars_of(tags: Tags) -> list[int]:
    names = ("primaries", "transfer", "matrix", "color_range", "chroma_location")
    return [int(getattr(tags, name)) for name in names]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((34, 26), (6, 6, 6, 1, 1)), ((32, 288), (5, 6, 6, 1, 1)), ((1280, 16), (1, 1, 1, 1, 1))],
    ids=["ntsc", "pal", "hd"],
)
def test_missing_tags_are_written_as_understood(
    tmp_path: Path, lkdn_video: Command, size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(size=size, tags=Tags.none(), pts=(0,)))
    assert lkdn_video(here, tmp_path / "b.mkv") == 0
    assert colour(frames(tmp_path / "b.mkv")[0]) == expected


def test_hdr10_metadata_is_kept(tmp_path: Path, lkdn_video: Command) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=none:cutree=0:hdr10=1:master-display={display}:max-cll=1000,400"
    clip = Clip(
        pix_fmt="yuv420p10le",
        codec="libx265",
        options={"x265-params": params},
        tags=Tags(9, 16, 9, 1, 3),
        pts=(0, 1),
    )
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there) == 0
    for kind in (SideData.MASTERING_DISPLAY_METADATA, SideData.CONTENT_LIGHT_LEVEL):
        old, new = (bytes(frames(path)[0].side_data[kind]) for path in (here, there))
        assert new == old
    with av.open(str(there)) as result:
        assert result.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_hdr10_metadata_of_av1(tmp_path: Path, lkdn_video: Command, codec: str) -> None:
    """It has them in parts of 1/2^16, which others have not."""
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=none:cutree=0:hdr10=1:master-display={display}"
    options = {"x265-params": params}
    clip = Clip(pix_fmt="yuv420p10le", codec="libx265", options=options, pts=(0, 1))
    here, there = tmp_path / "av1.mp4", tmp_path / "b.mkv"
    assert lkdn_video(make_clip(tmp_path / "a.mkv", clip), here, "--codec", "libsvtav1") == 0
    assert lkdn_video(here, there, "--codec", codec) == 0
    old, new = (
        bytes(frames(path)[0].side_data[SideData.MASTERING_DISPLAY_METADATA])
        for path in (here, there)
    )
    given, kept = ([n / d for n, d in struct.iter_unpack("=2i", data[:80])] for data in (old, new))
    assert kept == pytest.approx(given, abs=5e-5)


@pytest.mark.parametrize("codec", ["ffv1", "libvpx-vp9", "prores_ks"])
def test_hdr10_metadata_without_a_place_are_named(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    params = "log-level=none:cutree=0:hdr10=1:max-cll=1000,400"
    clip = Clip(codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": params}, pts=(0, 1))
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", codec) == 0
    assert f"of HDR10 are lost with {codec}; libx265" in capsys.readouterr().err


DEPTHS = ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv422p10le", "yuv444p12le"]


@pytest.mark.parametrize("pix_fmt", [*DEPTHS, "gray10le", "gray12le"])
def test_depth_and_subsampling_are_kept(tmp_path: Path, lkdn_video: Command, pix_fmt: str) -> None:
    here = make_clip(tmp_path / "a.mkv", replace(Clip(), pix_fmt=pix_fmt, pts=(0, 1), **LOSSLESS))
    assert lkdn_video(here, tmp_path / "b.mkv") == 0
    new = frames(tmp_path / "b.mkv")[0]
    assert (new.format.name, new.width, new.height) == (pix_fmt, 68, 52)


def repeated(values: np.ndarray, scale: int, shape: tuple[int, ...]) -> np.ndarray:
    """Every sample ``scale`` times each way, edges once more to fill ``shape``, or cut to it."""
    large = values.repeat(scale, 0).repeat(scale, 1).astype(int)
    rows, columns = (max(0, n - m) for n, m in zip(shape, large.shape, strict=True))
    return np.pad(large, ((0, rows), (0, columns)), "edge")[: shape[0], : shape[1]]


@pytest.mark.parametrize(
    ("pix_fmt", "size", "scale"),
    [(name, (34, 26), 2) for name in [*DEPTHS, "yuv411p", "yuv440p", "yuv420p9le"]]
    # FFV1 itself loses the last chroma column of an odd 4:1:1 picture.
    + [(name, (37, 27), 3) for name in [*DEPTHS, "yuv440p", "yuv420p9le"]],
)
def test_the_picture_is_the_enlarged_one(
    tmp_path: Path, lkdn_video: Command, pix_fmt: str, size: tuple[int, int], scale: int
) -> None:
    """Luma from a pixel-repeating network is the source's, repeated; chroma is near that."""
    clip = replace(Clip(), size=size, pix_fmt=pix_fmt, pts=(0, 1, 2), **LOSSLESS)
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--codec", "ffv1", scale=scale) == 0
    code = 2 ** (frames(here)[0].format.components[0].bits - 8)  # of 8 bits, in this depth
    for old, new in zip(frames(here), frames(there), strict=True):
        assert new.format.name == pix_fmt
        for number, (was, now) in enumerate(zip(planes(old), planes(new), strict=True)):
            error = np.abs(repeated(was, scale, now.shape) - now)
            # Subsampled chroma is interpolated on the way to RGB, so it is not quite repeated.
            assert error.max() <= code * (1 if number == 0 else 16)
            assert error.mean() <= code * (0.5 if number == 0 else 3)


def test_rgb_stays_rgb_where_the_encoder_has_it(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = tmp_path / "a.mkv", tmp_path / "b.mkv"
    pixels = np.random.default_rng(0).integers(0, 256, (26, 34, 3), np.uint8)
    with av.open(str(here), "w") as out:
        stream = out.add_stream("ffv1", rate=25, width=34, height=26, pix_fmt="bgr0")
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="bgr0")
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    assert lkdn_video(here, there, "--codec", "ffv1") == 0
    new = frames(there)[0]
    assert new.format.name == "bgr0"
    assert np.array_equal(new.to_ndarray(format="rgb24"), pixels.repeat(2, 0).repeat(2, 1))


def test_odd_results_are_padded_or_444(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", replace(Clip(), size=(35, 27), pts=(0,), **LOSSLESS))
    assert lkdn_video(here, tmp_path / "even.mkv", scale=3) == 0
    assert "105x81 is padded to 106x82 by repeating the edge" in capsys.readouterr().err
    even = frames(tmp_path / "even.mkv")[0]
    assert (even.width, even.height) == (106, 82)
    luma = planes(even)[0].astype(int)
    assert np.abs(luma[:, 105] - luma[:, 104]).max() <= 8  # lossy, but no black edge
    assert lkdn_video(here, tmp_path / "exact.mkv", "--pix-fmt", "yuv444p", scale=3) == 0
    exact = frames(tmp_path / "exact.mkv")[0]
    assert (exact.format.name, exact.width, exact.height) == ("yuv444p", 105, 81)


@pytest.mark.parametrize(
    ("pix_fmt", "needs"), [("yuv411p", "multiples of 4x1"), ("yuv420p", "even sizes")]
)
def test_padding_names_its_reason(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    pix_fmt: str,
    needs: str,
) -> None:
    here = make_clip(
        tmp_path / "a.mkv", replace(Clip(), size=(35, 27), pix_fmt=pix_fmt, pts=(0,), **LOSSLESS)
    )
    assert lkdn_video(here, tmp_path / "b.mkv", "--codec", "ffv1", "--dry-run", scale=3) == 0
    said = capsys.readouterr().err
    assert f"{pix_fmt} needs {needs}; --pix-fmt yuv444p keeps the size" in said


def test_what_is_not_refused_can_be_read() -> None:
    refused = set()
    for name in av.video.format.names:
        try:
            planar = nearest_planar(name)
        except FormatError:
            refused.add(name)
        else:
            assert repacked(av.VideoFrame(16, 16, name), planar).format.name == planar
    assert {"bgr4", "rgb4", "x2rgb10be", "bayer_rggb8", "grayf32le"} < refused
    assert refused.isdisjoint({"nv12", "p010le", "pal8", "monow", "rgb565be", "y210le", "xv30le"})


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_the_default_encoder_shows_what_the_network_made(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Decoded by PyAV's own arrays, enlarged by the engine, compared with the file."""
    here, there = make_clip(tmp_path / "a.mp4", Clip(pts=range(9))), tmp_path / "b.mp4"
    assert main([str(here), str(there), "--scale", "2", "--weights", str(untrained), "-q"]) == 0
    arrays = [f.to_ndarray() for f in frames(here)]  # (1.5 H, W): Y, then U and V
    sources = [
        [a[:26], a[26:].reshape(2, 13, 17)[0].copy(), a[26:].reshape(2, 13, 17)[1].copy()]
        for a in arrays
    ]
    format = FrameFormat(family="yuv", subsampling=(1, 1), matrix="bt709")
    upscaler = Upscaler(scale=2, weights=untrained, device="cpu")
    expected = list(upscaler.stream(sources, format))
    assert len(expected) == 9
    for frame, planes_ in zip(frames(there), expected, strict=True):
        for now, should in zip(planes(frame), planes_, strict=True):
            assert psnr(now, should) > 38
    assert capsys.readouterr() == ("", "")
