"""What a file does not tell of its colours, on both sides: what is meant then."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from PIL import Image

from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.formats import ColourTags
from lkdn_media.plan import make_plan
from lkdn_media.probe import probe
from tests.cli.clips import Clip, Tags, make_clip
from tests.cli.media import Command, frames, planes

LOSSLESS = {"codec": "ffv1", "options": {}}
SHADES = [0, 9, 105, 249, 255]


def shades(mode: str) -> Image.Image:
    """Stripes of `SHADES`, 8 pixels each."""
    row = np.repeat(np.array(SHADES, np.uint8), 8)
    return Image.fromarray(np.tile(row, (24, 1))).convert(mode)


def stripes(path: Path) -> list[float]:
    """Red, of 255, in the middle of each stripe of twice the size, as FFmpeg shows it."""
    picture = frames(path)[0].to_ndarray(format="rgb24")
    return [float(picture[4:-4, 16 * i + 6 : 16 * i + 10, 0].mean()) for i in range(len(SHADES))]


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("%03d.jpg", "L", {"quality": 100}),
        ("%03d.tif", "L", {}),
        ("%03d.tif", "I;16", {}),
        ("%03d.tif", "LA", {}),
        ("%03d.tif", "YCbCr", {}),
        ("%03d.bmp", "L", {}),
        ("%03d.webp", "L", {"lossless": True}),
    ],
)
def test_pictures_are_of_full_range(
    tmp_path: Path, lkdn_video: Command, name: str, mode: str, options: dict[str, int]
) -> None:
    image = shades("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    image.save(tmp_path / (name % 1), **options)
    for result in ("b.mkv", "b.mp4"):
        assert lkdn_video(tmp_path / name, tmp_path / result, "--codec", "ffv1") == 0
        assert stripes(tmp_path / result) == pytest.approx(SHADES, abs=2)


def test_jpeg_within_tiff_is_refused(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """FFmpeg would show it black."""
    shades("RGB").save(tmp_path / "001.tif", compression="jpeg")
    assert lkdn_video(tmp_path / "%03d.tif", tmp_path / "b.mkv") == 1
    assert "001.tif: JPEG within TIFF makes no video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name", "range"),
    [
        ("ffv1", "gray", "a.mkv", "full"),
        ("ffv1", "gray16le", "a.mkv", "full"),
        ("rawvideo", "gray", "a.nut", "full"),
        ("libx264", "gray", "a.mkv", "limited"),
        ("rawvideo", "gray", "a.y4m", "limited"),
        ("ffv1", "yuv420p", "a.mkv", "limited"),
    ],
)
def test_gray_is_of_full_range_but_in_codings_of_video(
    tmp_path: Path, codec: str, pix_fmt: str, name: str, range: str
) -> None:
    clip = Clip(pix_fmt=pix_fmt, codec=codec, options={}, tags=Tags.none(), pts=(0,))
    assert probe(make_clip(tmp_path / name, clip)).format.color_range == range


@pytest.mark.parametrize("told", [0, ColorRange.MPEG, ColorRange.JPEG])
def test_a_tag_says_more_than_a_name(told: int) -> None:
    frame = av.VideoFrame(8, 8, "yuvj420p")
    frame.color_range = told
    expected = ColorRange.MPEG if told == ColorRange.MPEG else ColorRange.JPEG
    assert ColourTags.of(frame).color_range == expected


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("mjpeg", "b.mkv"),
        ("mpeg1video", "b.mkv"),
        ("mpeg2video", "b.mkv"),
        ("mpeg4", "b.mp4"),
        ("prores_ks", "b.mov"),
        ("prores_ks", "b.mkv"),
        ("libvpx-vp9", "b.mp4"),
        ("libvpx-vp9", "b.webm"),
        ("libsvtav1", "b.mp4"),
        ("libsvtav1", "b.mkv"),
        ("ffv1", "b.mp4"),
        ("ffv1", "b.mkv"),
        ("libx264", "b.mp4"),
    ],
)
@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 6])
def test_chroma_lies_where_it_will_be_taken_to_lie(
    tmp_path: Path, lkdn_video: Command, codec: str, name: str, place: int
) -> None:
    size = (64, 64)  # SVT-AV1's least, enlarged
    tags = Tags(chroma_location=place)
    here = make_clip(tmp_path / "a.mkv", Clip(size=size, tags=tags, pts=(0,)))
    target = tmp_path / name
    plan = make_plan(probe(here), target, scale=2, choice=EncoderChoice(codec=codec))
    meant = plan.output_format.chroma_location
    assert lkdn_video(here, target, "--codec", codec) == 0
    taken = probe(target).format.chroma_location
    if not plan.output_format.subsampling[1]:  # nothing is above or below
        taken, meant = (str(it).replace("topleft", "left") for it in (taken, meant))
    assert taken == meant
    if codec == "libx264":
        assert meant == probe(here).format.chroma_location


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("apng", "b.apng"),
        ("png", "b.mov"),
        ("qtrle", "b.mov"),
        ("mjpeg", "b.mkv"),
        ("tiff", "b.mov"),
        ("jpeg2000", "b.mov"),
        ("ffv1", "b.mkv"),
        ("libx264", "b.mov"),
        ("gif", "b.gif"),
    ],
)
@pytest.mark.parametrize("pix_fmt", ["gray", "gbrp10le"])
def test_limited_gray_and_rgb_are_shown_right(
    tmp_path: Path, lkdn_video: Command, codec: str, name: str, pix_fmt: str
) -> None:
    tags = Tags(matrix=1 if pix_fmt == "gray" else 0, color_range=ColorRange.MPEG)
    here = make_clip(tmp_path / "a.mkv", Clip(**LOSSLESS, pix_fmt=pix_fmt, tags=tags, pts=(0,)))
    there = tmp_path / name
    codec = "libx264rgb" if (codec, pix_fmt) == ("libx264", "gbrp10le") else codec
    assert lkdn_video(here, there, "--codec", codec) == 0
    depth = 4 if pix_fmt == "gbrp10le" else 1
    before = (planes(frames(here)[0])[0] / depth - 16) * 255 / 219  # gray or green
    (frame,), format = frames(there), probe(there).format
    if format.family == "rgb" or pix_fmt != "gray":
        after = frame.to_ndarray(format="rgb24")[..., 1].astype(float)
    else:
        after = planes(frame)[0].astype(float)
        after = (after - 16) * 255 / 219 if format.color_range == "limited" else after
    off = after[: 2 * len(before) : 2, : 2 * before.shape[1] : 2] - before
    assert abs(off.mean()) < 2 and np.abs(off).mean() < 4


@pytest.mark.parametrize("matrix", [4, 8])
def test_vp9_gets_a_matrix_it_can_tell(tmp_path: Path, lkdn_video: Command, matrix: int) -> None:
    clip = Clip(**LOSSLESS, tags=Tags(matrix=matrix), pts=(0,))
    here = make_clip(tmp_path / "a.mkv", clip)
    assert lkdn_video(here, tmp_path / "b.webm") == 0
    assert frames(tmp_path / "b.webm")[0].colorspace == 1


@pytest.mark.parametrize(
    "duration",
    ["00:00:        -nan", "00:00:1e308       ", "-5:00:00          ", "9" * 12 + ":00:00"],
)
def test_a_duration_that_is_none(tmp_path: Path, lkdn_video: Command, duration: str) -> None:
    """The first as some release of FFmpeg wrote it."""
    here = make_clip(tmp_path / "a.mkv", Clip(pts=range(3)))
    data = here.read_bytes()
    place = data.index(b"00:00:00.120000000")
    here.write_bytes(data[:place] + duration.encode() + data[place + 18 :])
    assert probe(here).declared_end is None
    assert lkdn_video(here, tmp_path / "b.mkv") == 0
