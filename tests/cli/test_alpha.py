"""Transparency: enlarged with the picture where the output has a place for it."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_cli.video import main
from lkdn_media.palette import Colours
from lkdn_media.pipes import RawVideo, stdin_opener
from lkdn_media.probe import probe
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, colour, durations, frames, times

SIZE = 32, 26  # libswscale, as tests use it, gets the last columns of other widths wrong
PIXELS = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
PIXELS[..., :3] = np.random.default_rng(0).integers(60, 190, 3)
PIXELS[..., 3] = np.arange(SIZE[1])[:, None] * 9
PIXELS[8:16, 8:16, 3] = 255


def clip_of(
    path: Path, codec: str, pix_fmt: str, pixels: np.ndarray = PIXELS, *, lossless: bool = False
) -> Path:
    """Three frames of RGBA ``pixels``, written as ``codec`` takes them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, width=SIZE[0], height=SIZE[1])
        stream.pix_fmt = pix_fmt
        stream.options = {"lossless": "1"} if lossless else {}
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, "rgba").reformat(
                format=pix_fmt, dst_colorspace="itu709"
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.colorspace = 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def rgba(path: Path) -> list[np.ndarray]:
    """All frames as RGBA; alpha of VP9 by libvpx."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        decoded = [f for packet in container.demux(stream) for f in decoder.decode(packet)]
    return [f.reformat(format="rgba").to_ndarray() for f in decoded]


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt", "target", "new_codec", "new_pix_fmt"),
    [
        ("a.mkv", "ffv1", "yuva420p", "b.mkv", "vp9", "yuv420p"),
        ("a.mkv", "ffv1", "yuva420p", "b.webm", "vp9", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuva420p", "b.webm", "vp9", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuva420p", "b.mov", "prores", "yuva444p12le"),
        ("a.mkv", "ffv1", "yuva444p10le", "b.mkv", "ffv1", "yuva444p10le"),
        ("a.mkv", "ffv1", "bgra", "b.mkv", "ffv1", "bgra"),
        ("a.mkv", "ffv1", "gbrap12le", "b.mkv", "ffv1", "gbrap12le"),
        ("a.mov", "prores_ks", "yuva444p10le", "b.mov", "prores", "yuva444p12le"),
        ("a.mov", "prores_ks", "yuva444p10le", "b.mkv", "ffv1", "yuva444p12le"),
        ("a.mov", "qtrle", "argb", "b.mov", "prores", "yuva444p12le"),
        ("a.mov", "png", "rgba64be", "b.mkv", "ffv1", "gbrap16le"),
        ("a.apng", "apng", "rgba", "b.mkv", "ffv1", "bgra"),
    ],
)
def test_alpha_is_enlarged(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    source: str,
    codec: str,
    pix_fmt: str,
    target: str,
    new_codec: str,
    new_pix_fmt: str,
) -> None:
    here, there = clip_of(tmp_path / source, codec, pix_fmt), tmp_path / target
    assert lkdn_video(here, there, "-q") == 0
    assert "transparency" not in capsys.readouterr().err
    with av.open(str(there)) as result:
        assert result.streams.video[0].codec_context.name == new_codec
    assert frames(there)[0].format.name == new_pix_fmt
    assert len(frames(there)) == 3
    for old, new in zip(rgba(here), rgba(there), strict=True):
        large = old.repeat(2, 0).repeat(2, 1).astype(int)
        error = np.abs(large - new)
        assert error[..., 3].mean() < 1.5
        assert error[..., :3].mean() < 4


@pytest.mark.parametrize("target", ["b.mkv", "b.webm"])
def test_players_are_told_of_alpha(tmp_path: Path, lkdn_video: Command, target: str) -> None:
    """Beside the shape of the pixels; and what came out goes in again."""
    shape = Fraction(16, 15)
    clip = Clip(codec="prores_ks", pix_fmt="yuva444p10le", options={}, pts=range(3), sar=shape)
    here, there, last = (tmp_path / name for name in ("a.mov", target, f"again-{target}"))
    assert lkdn_video(make_clip(here, clip), there, "--codec", "libvpx-vp9") == 0
    assert lkdn_video(there, last) == 0
    for path in (there, last):
        with av.open(str(path)) as result:
            stream = result.streams.video[0]
            assert stream.metadata["alpha_mode"] == "1"
            assert stream.sample_aspect_ratio == shape
        assert probe(path).alpha


def test_a_tag_may_tell_of_alpha_in_capitals(tmp_path: Path) -> None:
    """FFmpeg copies it that way, and its reader then forgets the other one."""
    here = clip_of(tmp_path / "a.webm", "libvpx-vp9", "yuva420p")
    with av.open(str(here)) as source, av.open(str(tmp_path / "b.webm"), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        copy.metadata["ALPHA_MODE"] = "1"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    with av.open(str(tmp_path / "b.webm")) as copied:
        assert "alpha_mode" not in copied.streams.video[0].metadata
    assert probe(tmp_path / "b.webm").alpha


def test_colours_that_only_the_container_tells(tmp_path: Path, lkdn_video: Command) -> None:
    """VP9 has no place for primaries and transfer; libvpx decodes it where there is alpha."""
    bt2020 = Tags(primaries=9, transfer=14, matrix=9)
    clip = Clip(codec="libvpx-vp9", pix_fmt="yuva420p", options={}, pts=range(3), tags=bt2020)
    here, there = make_clip(tmp_path / "a.webm", clip), tmp_path / "b.webm"
    assert lkdn_video(here, there) == 0
    assert colour(frames(here)[0]) == colour(frames(there)[0])
    assert colour(frames(there)[0])[:3] == (9, 14, 9)


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
    ],
)
@pytest.mark.parametrize("size", [(), ("--height", "39")], ids=["enlarged", "resized"])
def test_flat_alpha_does_not_change_and_hidden_colour_does_not_bleed(
    *, tmp_path: Path, untrained: Path, source: str, codec: str, pix_fmt: str, size: tuple[str, ...]
) -> None:
    """With a network that looks about itself: what is visible is the same over any hidden colour.

    The edge lies between blocks of ProRes, which is lossy.
    """
    results = []
    for name, hidden in (("black", (0, 0, 0)), ("green", (0, 255, 0))):
        folder = tmp_path / name
        folder.mkdir()
        pixels = np.full((SIZE[1], SIZE[0], 4), (200, 40, 40, 255), np.uint8)
        pixels[:, 16:] = (*hidden, 0)
        vp9 = codec == "libvpx-vp9"
        here = clip_of(folder / source, codec, pix_fmt, pixels, lossless=vp9)
        engine = ("--scale", "2", "--weights", str(untrained), "--device", "cpu")
        there = folder / "b.mkv"
        assert main([str(here), str(there), *engine, "-q", "--codec", "ffv1", *size]) == 0
        results.append(rgba(there)[0].astype(int))
    black, green = results
    edge = black.shape[1] // 2
    assert np.abs(black - green)[:, :edge, :3].max() == 0
    assert black[:, : edge - 6, 3].min() == 255
    assert black[:, edge + 6 :, 3].max() == 0


@pytest.mark.parametrize(
    ("source", "codec", "pix_fmt", "target"),
    [("a.mkv", "ffv1", "ya8", "b.mkv"), ("a.mov", "png", "ya16be", "b.mov")],
)
def test_gray_with_alpha_stays_gray(
    *, tmp_path: Path, lkdn_video: Command, source: str, codec: str, pix_fmt: str, target: str
) -> None:
    here, there = clip_of(tmp_path / source, codec, pix_fmt), tmp_path / target
    assert lkdn_video(here, there, "-q", "--codec", codec) == 0
    assert frames(there)[0].format.name == pix_fmt
    old = rgba(here)[0].repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(old - rgba(there)[0]).max() <= 2


def gif_of(path: Path, *, transparent: bool) -> Path:
    """A GIF of three frames that last different times."""
    from PIL import Image

    pictures = []
    for number in range(3):
        pixels = PIXELS.copy()
        pixels[..., 0] += 20 * number
        pixels[..., 3] = 255
        pixels[:8, :, 3] = 0 if transparent else 255
        pictures.append(Image.fromarray(pixels))
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[40, 100, 60], disposal=2
    )
    return path


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("target", ["b.mkv", "b.mp4"])
def test_a_gif_needs_alpha_only_where_it_is_transparent(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    target: str,
    transparent: bool,
) -> None:
    here, there = gif_of(tmp_path / "a.gif", transparent=transparent), tmp_path / target
    assert lkdn_video(here, there, "-q") == 0
    kept = transparent and target == "b.mkv"
    plain = "yuv420p" if target == "b.mp4" else "yuv444p"
    assert frames(there)[0].format.name == ("bgra" if kept else plain)
    lost = []
    if transparent and not kept:
        lost = ["transparency is lost with libx264 in mp4; mkv, mov and webm keep it by default"]
    if target == "b.mp4":
        lost.append("bgra is written as yuv420p, with coarser chroma")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"lkdn-video: warning: {line}" for line in lost]
    assert times(there) == pytest.approx([0, 0.04, 0.14], abs=0.0006)
    if target == "b.mkv":  # MP4 has no place for durations of reordered frames
        lengths = [float(d) for d in durations(there)]
        assert lengths == pytest.approx([0.04, 0.1, 0.06], abs=0.0006)
    for new in rgba(there) if kept else []:
        assert new[:16, :, 3].max() == 0
        assert new[16:, :, 3].min() == 255


def test_palettes_without_transparency_are_opaque(tmp_path: Path, lkdn_video: Command) -> None:
    here, there = tmp_path / "a.avi", tmp_path / "b.mkv"
    with av.open(str(here), "w") as out:
        stream = out.add_stream("msrle", rate=25, width=SIZE[0], height=SIZE[1])
        stream.pix_fmt = "pal8"
        opaque = av.VideoFrame.from_ndarray(PIXELS[..., :3].copy(), "rgb24")
        frame = Colours().drawn(opaque.reformat(format="gbrp"))
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux([*stream.encode(frame), *stream.encode(None)])
    assert lkdn_video(here, there, "-q") == 0
    assert frames(there)[0].format.name == "yuv444p"


def test_palettes_from_a_pipe_are_looked_at_once() -> None:
    """There all pictures are read only to be enlarged."""
    raw = RawVideo(*SIZE, "pal8", Fraction(25))
    picture = bytes(SIZE[0] * SIZE[1]) + bytes(4 * 256)
    opener = stdin_opener(BytesIO(picture), raw)
    source = probe(Path("-"), opener=opener)
    assert source.alpha
    with source.open() as container:
        assert len(list(container.decode(video=0))) == 1


@pytest.mark.parametrize("transparent", [True, False])
def test_webp_needs_alpha_only_where_it_is_transparent(
    tmp_path: Path, lkdn_video: Command, transparent: bool
) -> None:
    here, there = gif_of(tmp_path / "a.webp", transparent=transparent), tmp_path / "b.mov"
    assert lkdn_video(here, there, "-q") == 0
    assert frames(there)[0].format.name == ("yuva444p12le" if transparent else "yuv420p")


@pytest.mark.parametrize("transparent", [True, False])
def test_avif_is_its_animation(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    transparent: bool,
) -> None:
    """The first picture is there as a still too, and alpha in streams of its own."""
    from PIL import Image, features

    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    here, there = tmp_path / "a.avif", tmp_path / "b.mkv"
    kind, colours = ("RGBA", (9, 99, 199, 50)) if transparent else ("RGB", (9, 99, 199))
    pictures = [Image.new(kind, (34, 26), colours) for _ in range(3)]
    pictures[0].save(here, save_all=True, append_images=pictures[1:], duration=40)
    page = tmp_path / "page.html"
    assert lkdn_video(here, there, "-q", "--compare", str(page)) == 0
    assert "<td>av1</td>" in page.read_text(encoding="utf-8")
    with av.open(str(there)) as result:
        assert len(result.streams) == 1
        assert len(list(result.decode(video=0))) == 3
    said = capsys.readouterr().err
    assert ("the transparency of AVIF can't be kept" in said) == transparent


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx265", "yuv420p"), ("ffv1", "yuva420p"), ("libvpx-vp9", "yuva420p")]
)
def test_an_encoder_of_choice(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    pix_fmt: str,
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(pix_fmt="yuva420p", codec="ffv1", options={}))
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run", "--codec", codec) == 0
    said = capsys.readouterr()
    assert f" 68x52 {pix_fmt} (" in said.out
    assert ("transparency is lost" in said.err) == (codec == "libx265")
