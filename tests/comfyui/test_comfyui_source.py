"""Which file stands for a VIDEO of a graph: its own, or one of what is meant."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import torch

from lkdn_comfyui.source import source_file
from lkdn_comfyui.video import plan_video
from lkdn_core.color import to_rgb
from lkdn_media.encoder_choice import EncoderChoice
from tests.cli.clips import Clip, make_clip
from tests.cli.media import frames, planes
from tests.comfyui.test_comfyui_video import ignore


class CroppedVideo:
    """A file of which a graph has cut off all but 32x24, as newer versions of ComfyUI have it."""

    def __init__(self, path: Path) -> None:
        self.path, self.quality = path, -1

    def get_stream_source(self) -> str:
        return str(self.path)

    def get_dimensions(self) -> tuple[int, int]:
        return 32, 24

    def get_components(self) -> SimpleNamespace:
        pictures = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in frames(self.path)]
        images = torch.stack(pictures)[:, :24, :32] / 255
        return SimpleNamespace(images=images, frame_rate=Fraction(25), audio=None)


class CroppedAndSaved(CroppedVideo):
    """The same where ComfyUI can be told a quality."""

    def save_to(self, path: str, crf: float | None = None) -> None:
        assert crf is not None
        self.quality = int(crf)
        Path(path).write_bytes(self.path.read_bytes())


def test_a_crop_of_the_graph_costs_no_quality(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", Clip(size=(48, 32), codec="ffv1", options={}))
    video = CroppedVideo(source)
    video.save_to = lambda path: None  # type: ignore[attr-defined]
    with source_file(video, tmp_path, made_of_frames=False, progress=ignore) as file:
        assert file.origin == source and file.path.parent != tmp_path and not file.window
        for frame, image in zip(frames(file.path), video.get_components().images, strict=True):
            got = torch.from_numpy(frame.to_ndarray(format="rgb24")) / 255
            assert (got - image).square().mean() < 1e-4  # swscale's rounding
    newer = CroppedAndSaved(source)
    with source_file(newer, tmp_path, made_of_frames=False, progress=ignore) as file:
        assert newer.quality == 0 and file.origin == source
        assert file.choice == EncoderChoice()
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    ("space", "numbers"),
    [("auto", (1, 1, 1)), ("sRGB", (1, 1, 1)), ("HDR", (9, 18, 9)), ("HDR PQ", (9, 16, 9))],
)
def test_frames_in_hdr_stay_so(tmp_path: Path, space: str, numbers: tuple[int, int, int]) -> None:
    """Primaries, transfer and matrix, ITU-T H.273; those of newer versions of ComfyUI."""
    images = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(3))
    parts = SimpleNamespace(images=images, frame_rate=Fraction(25), audio=None)
    video = SimpleNamespace(get_components=lambda: parts, get_color_space=lambda: space)
    with source_file(video, tmp_path, made_of_frames=True, progress=ignore) as file:
        plan = plan_video(file.path, scale=2, choice=file.choice, window=file.window)
        tags = plan.tags
        assert (tags.primaries, tags.transfer, tags.matrix) == numbers
        yuv = [torch.from_numpy(p.copy())[None] for p in planes(frames(file.path)[1])]
        rgb = to_rgb(yuv, plan.input_format)[0].movedim(0, -1)
    torch.testing.assert_close(rgb, images[1], rtol=0, atol=0.5 / 255)


def test_edits_that_keep_the_size_count(tmp_path: Path) -> None:
    """Newer versions tell of them, as a crop that is resized to the old size."""
    source = make_clip(tmp_path / "in.mkv", Clip(size=(32, 24), codec="ffv1", options={}))
    video = CroppedAndSaved(source)
    for edited in (False, True):
        video.has_pending_frame_edits = lambda edited=edited: edited  # type: ignore[attr-defined]
        with source_file(video, tmp_path, made_of_frames=False, progress=ignore) as file:
            assert (file.path != source) == edited and file.origin == source


def test_a_cover_that_comes_first_is_not_the_video(tmp_path: Path) -> None:
    """ComfyUI tells the size of a file's first stream."""
    source = make_clip(tmp_path / "in.mp4", Clip(size=(48, 32), cover=True))
    data = source.read_bytes()
    begin = data.index(b"moov") + 4
    end = begin - 8 + int.from_bytes(data[begin - 8 : begin - 4])
    boxes, place = list[bytes](), begin
    while place < end:
        length = int.from_bytes(data[place : place + 4])
        boxes.append(data[place : place + length])
        place += length
    boxes.sort(key=lambda box: (b"mvhd", b"udta", b"trak").index(box[4:8]))
    source.write_bytes(data[:begin] + b"".join(boxes) + data[end:])
    with av.open(str(source)) as media:
        cover = media.streams.video[0]
        size = cover.width, cover.height
    assert size != (48, 32)
    video = SimpleNamespace(
        get_stream_source=lambda: str(source),
        get_dimensions=lambda: size,
        get_active_trim_window=lambda: (0.0, 0.0),
    )
    with source_file(video, tmp_path, made_of_frames=False, progress=ignore) as file:
        assert file.path == source
