"""Videos and windows of them, against the engine and the source."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from lkdn_comfyui.clip import write_clip
from lkdn_comfyui.source import source_file
from lkdn_comfyui.video import CODECS, Window, plan_video, upscale_to
from lkdn_core import Upscaler
from lkdn_core.color import to_rgb
from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.sizes import SizeChoice
from tests.cli.clips import Clip, make_clip
from tests.cli.media import copies, frames, planes, times

NTSC = Fraction(1001, 30000)
LOSSLESS = EncoderChoice(codec="libx264", preset="ultrafast", crf=0.0)
FULL = Window()


def upscale(
    source: Path, folder: Path, upscaler: Upscaler, window: Window, step: Callable[[], object]
) -> Path:
    """The whole way, without loss."""
    plan = plan_video(source, scale=upscaler.scale, choice=LOSSLESS, window=window)
    return upscale_to(folder / "out", plan, upscaler, progress=step)


def ignore() -> None:
    """No progress."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """24 frames at 30000/1001 per second with B-frames, a keyframe every 8, and sound."""
    options = {"qp": "0", "preset": "veryfast", "g": "8", "bf": "2"}
    return make_clip(
        tmp_path / "in.mp4",
        Clip(pts=range(24), time_base=NTSC, options=options, audio=[{"language": "eng"}]),
    )


def test_a_whole_video(clip: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    steps: list[int] = []
    out = upscale(clip, tmp_path, upscaler, FULL, lambda: steps.append(1))
    assert out.suffix == ".mp4" and len(steps) == 24
    assert times(out) == [i * NTSC for i in range(24)]
    assert copies(out) == copies(clip)
    with av.open(str(out)) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None and Fraction(rate.numerator, rate.denominator) == 1 / NTSC
    format = plan_video(clip, scale=2, choice=LOSSLESS, window=FULL).input_format
    for small, large in zip(frames(clip), frames(out), strict=True):
        source = [torch.from_numpy(p.copy())[None] for p in planes(small)]
        for plane, wanted in zip(planes(large), upscaler.up_planes(source, format), strict=True):
            assert np.array_equal(plane, wanted[0].numpy())


@pytest.mark.parametrize(
    ("window", "kept"),
    [
        (Window(0, 0.2), range(6)),
        (Window(4.5 * float(NTSC), 0), range(5, 24)),
        (Window(0.1, 0.15), range(3, 8)),
        (Window(0.7, 60), range(21, 24)),
    ],
)
def test_a_window(
    *,
    clip: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    upscaler: Upscaler,
    window: Window,
    kept: range,
) -> None:
    out = upscale(clip, tmp_path, upscaler, window, ignore)
    assert times(out) == [i * NTSC for i in range(len(kept))]
    whole = upscale(clip, tmp_path_factory.mktemp("whole"), upscaler, FULL, ignore)
    for number, frame in zip(kept, frames(out), strict=True):
        for plane, wanted in zip(planes(frame), planes(frames(whole)[number]), strict=True):
            assert np.array_equal(plane, wanted)
    start, end = kept[0] * NTSC, kept[-1] * NTSC + NTSC
    (source,) = copies(clip)
    first = start - Fraction(1024, 48000)  # players leave out so much at the start
    inside = [
        (data, pts - start)
        for data, pts, _ in source.packets
        if pts is not None and first <= pts < min(end, window.start + (window.duration or 99))
    ]
    heard = [packet for sound in copies(out) for packet in sound.packets]  # ends at 0.3 s
    assert [data for data, _, _ in heard] == [data for data, _ in inside]
    for (_, pts, _), (_, wanted) in zip(heard, inside, strict=True):
        assert pts is not None and abs(pts - wanted) <= Fraction(1, 48000)
    assert all(sound.tags == source.tags for sound in copies(out))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_window_past_the_end_is_an_error(clip: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    with pytest.raises(LKDNError, match="no frame from 5 s to 6 s"):
        upscale(clip, tmp_path, upscaler, Window(5, 1), ignore)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("window", [FULL, Window(0.1, 0.5)])
def test_an_interrupt_leaves_nothing(
    clip: Path, tmp_path: Path, upscaler: Upscaler, window: Window
) -> None:
    class Stop(BaseException):
        pass

    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 2:
            raise Stop

    with pytest.raises(Stop):
        upscale(clip, tmp_path, upscaler, window, step)
    assert len(steps) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_sound_that_mp4_cannot_hold_goes_to_matroska(
    tmp_path: Path, upscaler: Upscaler, pix_fmt: str
) -> None:
    """With decoding times for all packets: ComfyUI leaves out those without when it saves."""
    wanted = Clip(pts=range(12), audio=[{}], audio_codec="wavpack", pix_fmt=pix_fmt)
    clip = make_clip(tmp_path / "in.mkv", wanted)
    for name, window in (("whole", FULL), ("part", Window(0.04, 0.1))):
        plan = plan_video(clip, scale=2, choice=EncoderChoice(), window=window)
        out = upscale_to(tmp_path / name, plan, upscaler, progress=ignore)
        assert out.suffix == ".mkv" and copies(out)[0].kind == "audio"
        with av.open(str(out)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        assert all(packet.dts is not None for packet in packets)


def test_sound_that_neither_holds_goes_to_mp4(tmp_path: Path, upscaler: Upscaler) -> None:
    """As AAC: the samples that Matroska would get are not played everywhere."""
    wanted = Clip(pts=range(6), audio=[{}], audio_codec="adpcm_ms")
    clip = make_clip(tmp_path / "in.avi", wanted)
    plan = plan_video(clip, scale=2, choice=EncoderChoice(), window=FULL)
    out = upscale_to(tmp_path / "out", plan, upscaler, progress=ignore)
    assert out.suffix == ".mp4"
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_a_window_cuts_what_else_the_file_holds(tmp_path: Path, upscaler: Upscaler) -> None:
    chapters = (0, 300, "one"), (300, 800, "two")
    clip = Clip(pts=range(20), subtitles="mov_text", chapters=chapters)
    here = make_clip(tmp_path / "in.mp4", clip)
    out = upscale(here, tmp_path, upscaler, Window(0.08, 0.4), ignore)
    (track,) = [c for c in copies(out) if c.kind == "subtitle"]
    lines = [(text[2:], float(at or 0)) for text, at, _ in track.packets if text[2:]]
    assert lines == [(b"Zeile 0", 0), (b"Zeile 1", 0.06)]
    with av.open(str(out)) as container:
        ends = [float(c["end"] * c["time_base"]) for c in container.chapters()]
    assert ends == [0.22, 0.4]


def test_damage_inside_a_window_is_told(
    tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "in.mp4", Clip(pts=range(25), options={"qp": "9", "g": "5"}))
    with av.open(str(clip)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(clip.read_bytes())
    for place, size in places[12:14]:
        data[place + 4 : place + size] = bytes(size - 4)
    clip.write_bytes(data)
    upscale(clip, tmp_path, upscaler, Window(0.2, 0.6), ignore)
    assert "in.mp4: " in caplog.text


def test_the_number_of_frames_is_known_before(clip: Path) -> None:
    def count(window: Window) -> int:
        return plan_video(clip, scale=2, choice=LOSSLESS, window=window).source.frames

    assert count(FULL) == 24
    assert abs(count(Window(0.2, 0.3)) - 9) <= 1
    assert abs(count(Window(0.2, 0)) - 18) <= 1
    assert abs(count(Window(0.2, 100)) - 18) <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_frames_of_a_graph_are_stored_without_visible_loss(tmp_path: Path, channels: int) -> None:
    images = torch.rand(5, 7, 9, channels, generator=torch.Generator().manual_seed(7))
    sound = torch.sin(torch.arange(9000) / 20)[None].expand(2, -1) / 4, 48000
    path = tmp_path / "frames.mp4"
    write_clip(path, images, Fraction(29.97), sound, progress=ignore)
    stored = frames(path)
    format = plan_video(path, scale=2, choice=LOSSLESS, window=FULL).input_format
    assert (format.matrix, format.color_range) == ("bt709", "limited")
    assert times(path) == [i * Fraction(100, 2997) for i in range(5)]
    for image, frame in zip(images, stored, strict=True):
        yuv = [torch.from_numpy(plane.copy())[None] for plane in planes(frame)]
        rgb = to_rgb(yuv, format)[0].movedim(0, -1)
        wanted = image[..., :3] if channels >= 3 else image.expand(-1, -1, 3)
        torch.testing.assert_close(rgb, wanted, rtol=0, atol=0.5 / 255)
    with av.open(str(path)) as container:
        heard = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], 1)
    assert heard.shape[1] >= 8000 and 0.15 < heard[:, 2000:8000].std() < 0.2


def test_an_interrupt_ends_the_storing_of_frames_of_a_graph(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    class Video:
        def get_components(self) -> SimpleNamespace:
            images = torch.rand(9, 8, 8, 3)
            return SimpleNamespace(images=images, frame_rate=Fraction(25), audio=None)

    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise Stop

    with (
        pytest.raises(Stop),
        source_file(Video(), tmp_path, made_of_frames=True, progress=step),
    ):
        pass
    assert len(steps) == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(0, 2, 100), (2, 100), (1, 0, 100)])
def test_sound_of_a_graph_has_three_sides(tmp_path: Path, shape: tuple[int, ...]) -> None:
    audio = {"waveform": torch.zeros(shape), "sample_rate": 48000}
    parts = SimpleNamespace(images=torch.rand(2, 8, 8, 3), frame_rate=Fraction(25), audio=audio)
    video = SimpleNamespace(get_components=lambda: parts)
    with (
        pytest.raises(ArgumentError, match=r"audio: a waveform \(B, C, T\) is accepted, got \("),
        source_file(video, tmp_path, made_of_frames=True, progress=ignore),
    ):
        pass


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 8])
def test_sound_of_a_graph_ends_with_its_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, channels: int
) -> None:
    path = tmp_path / "frames.mp4"
    sound = torch.rand(channels, 480000), 48000
    write_clip(path, torch.rand(5, 8, 8, 3), Fraction(25), sound, progress=ignore)
    with av.open(str(path)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0))
        kept = container.streams.audio[0].channels
    assert kept == (channels if channels < 8 else 2)
    assert ("audio: of 8 channels the first alone is kept" in caplog.text) == (channels == 8)
    assert 9600 <= heard < 9600 + 2 * 1024  # AAC has whole blocks of 1024


@pytest.mark.parametrize(
    ("shape", "frame_rate", "rate", "words"),
    [
        ((0, 8, 8, 3), 25, 48000, "frames (B, H, W, C), one or more, are accepted, got (0, 8"),
        ((8, 8, 3), 25, 48000, "got (8, 8, 3)"),
        ((2, 8, 8, 3), 25, 11000, "48000, 64000, 88200, 96000 Hz is accepted, got 11000"),
        ((2, 8, 8, 3), 0, 48000, "video: frames a second above 0 are accepted, got 0"),
        ((2, 8, 8, 3), float("nan"), 48000, "above 0 are accepted, got nan"),
    ],
)
def test_frames_and_sound_that_make_no_video_are_named(
    tmp_path: Path, shape: tuple[int, ...], frame_rate: float, rate: int, words: str
) -> None:
    path, sound = tmp_path / "a.mp4", (torch.rand(2, 100), rate)
    with pytest.raises(ArgumentError) as caught:
        write_clip(path, torch.rand(shape), frame_rate, sound, progress=ignore)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("sound", ["aac", "wavpack"])  # MP4 holds the first alone
def test_codecs_and_sizes(
    tmp_path: Path, upscaler: Upscaler, codec: str, pix_fmt: str, sound: str
) -> None:
    """With decoding times for all packets: ComfyUI leaves out those without when it saves."""
    wanted = Clip(size=(96, 64), pts=range(4), audio=[{}], audio_codec=sound, pix_fmt=pix_fmt)
    clip = make_clip(tmp_path / "in.mkv", wanted)
    choice = EncoderChoice(codec=codec, crf=30)
    plan = plan_video(clip, scale=2, choice=choice, window=FULL, size=SizeChoice(height=96))
    assert plan.options["crf"] == "30"
    out = upscale_to(tmp_path / "out", plan, upscaler, progress=ignore)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.codec.canonical_name, stream.width) == (codec, 144)
        assert stream.height == 96 and container.streams.audio
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(frames(out)) == 4
    assert all(packet.dts is not None for packet in packets)


def test_it_can_be_stopped_within_a_frame(tmp_path: Path) -> None:
    clip, seen = make_clip(tmp_path / "in.mp4", Clip(size=(34, 26))), list[None]()
    upscaler = Upscaler(scale=2, tile=8)
    plan = plan_video(clip, scale=2, choice=EncoderChoice(), window=FULL)

    def stop() -> None:
        seen.append(None)
        if len(seen) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        upscale_to(tmp_path / "out", plan, upscaler, progress=ignore, check=stop)
    assert len(seen) >= 3
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_only_what_a_file_loses_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not that the file in between, of a graph's frames, is finer than the result."""
    made = tmp_path / "frames.mp4"
    write_clip(made, torch.rand(2, 8, 8, 3), Fraction(25), None, progress=ignore)
    choice = EncoderChoice(codec="libx264", pix_fmt="yuv420p")
    assert plan_video(made, scale=2, choice=choice, window=FULL).warnings
    assert not caplog.records
    clip = make_clip(
        tmp_path / "in.mov", Clip(codec="prores_ks", pix_fmt="yuva444p10le", options={})
    )
    plan_video(clip, scale=2, choice=EncoderChoice(), window=FULL)
    assert "in.mov: transparency is lost" in caplog.text


def test_frames_of_a_graph_become_a_video_browsers_show(tmp_path: Path, upscaler: Upscaler) -> None:
    path = tmp_path / "frames.mp4"
    write_clip(path, torch.full((3, 5, 7, 3), 0.5), Fraction(24), None, progress=ignore)
    choice = EncoderChoice(codec="libx264", pix_fmt="yuv420p")
    plan = plan_video(path, scale=2, choice=choice, window=FULL)
    out = upscale_to(tmp_path / "out", plan, upscaler, progress=ignore)
    assert [f.format.name for f in frames(out)] == ["yuv420p"] * 3
    assert times(out) == [Fraction(i, 24) for i in range(3)]
