"""``lkdn-video`` on transport streams: clocks that start anywhere, turn over, or begin again."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from lkdn_media.demux import _Joints
from tests.cli.clips import Clip, make_clip, picture
from tests.cli.media import Command, copies, frames, planes, times
from tests.cli.test_fields import MPEG2


def test_timestamps_of_a_transport_stream_keep_their_distance(
    tmp_path: Path, lkdn_video: Command
) -> None:
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 25200, 3600), audio=({},))
    here, there = make_clip(tmp_path / "a.ts", clip), tmp_path / "b.mp4"
    assert lkdn_video(here, there) == 0
    assert times(there) == times(here)
    (old,), (new,) = copies(here), copies(there)
    header = 7  # of ADTS, which MP4 has no use for
    assert [p[0] for p in new.packets] == [p[0][header:] for p in old.packets]
    assert [p[1] for p in new.packets] == pytest.approx([p[1] for p in old.packets], abs=1e-4)


@pytest.mark.parametrize("name", ["a.ts", "a.flv"])
def test_a_broadcast_starts_at_zero(tmp_path: Path, lkdn_video: Command, name: str) -> None:
    """Its clock, which begins anew every 26.5 hours, may stand anywhere, as a live stream's."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 25200, 3600), audio=({},))
    clip = replace(clip, container_options={"output_ts_offset": "40000"})
    here = make_clip(tmp_path / name, clip)
    with av.open(str(here)) as container:
        assert container.start_time is not None
        start = Fraction(container.start_time, 10**6)
    assert start > 39999
    for there in (tmp_path / "b.mp4", tmp_path / "b.mkv"):
        assert lkdn_video(here, there) == 0
        old, new = (times(p) + [p[1] for p in copies(p)[0].packets] for p in (here, there))
        assert [float(t) for t in new] == pytest.approx([float(t - start) for t in old], abs=1e-3)
        with av.open(str(there)) as container:
            assert container.duration is not None and container.duration < 10**6


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_frames_before_the_clock_turns_over_stay(
    tmp_path: Path, lkdn_video: Command, ending: str
) -> None:
    """A transport stream's clock begins anew after 26.5 hours: what lies before is negative."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 25200, 3600), audio=({},))
    clip = replace(clip, container_options={"output_ts_offset": "95443.61"})
    here, there = make_clip(tmp_path / "a.ts", clip), tmp_path / f"b.{ending}"
    assert times(here)[0] < 0 < times(here)[-1]
    assert lkdn_video(here, there) == 0
    shift = times(there)[0] - times(here)[0]
    assert [t - shift for t in times(there)] == pytest.approx(times(here), abs=1e-3)
    (old,), (new,) = copies(here), copies(there)
    assert [p[1] - shift for p in new.packets] == pytest.approx(
        [p[1] for p in old.packets], abs=2e-3
    )


def test_joined_recordings_go_on_where_they_were(tmp_path: Path, lkdn_video: Command) -> None:
    """Two transport streams one after the other, each starting at 0."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 90000 * 2, 3600), audio=({},))
    part = make_clip(tmp_path / "part.ts", replace(clip, options={"preset": "ultrafast"}))
    here, there = tmp_path / "a.ts", tmp_path / "b.mp4"
    here.write_bytes(part.read_bytes() * 2)
    assert lkdn_video(here, there, "--preset", "ultrafast") == 0
    shown, sound = times(there), [p[1] for p in copies(there)[0].packets]
    assert np.diff([float(t) for t in shown]) == pytest.approx(np.full(99, 0.04), abs=0.001)
    # The sound of each part, shorter than its pictures, starts where it did.
    assert len(sound) == 2 * len(copies(part)[0].packets)
    first, second = sound[: len(sound) // 2], sound[len(sound) // 2 :]
    assert [float(t - first[0]) for t in first[1:]] == pytest.approx(
        [float(t - second[0]) for t in second[1:]],
        abs=0.04,  # a frame
    )
    assert float(second[0] - shown[50]) == pytest.approx(float(first[0] - shown[0]), abs=0.05)


def test_subtitles_of_joined_recordings_stay_with_the_picture(
    tmp_path: Path, lkdn_video: Command
) -> None:
    parts = []
    for number, start in enumerate((100, 5)):
        path = tmp_path / f"{number}.ts"
        with av.open(str(path), "w", container_options={"output_ts_offset": str(start)}) as out:
            video = out.add_stream("mpeg2video", rate=25, width=32, height=24, pix_fmt="yuv420p")
            text = out.add_mux_stream("dvb_subtitle")
            text.time_base = Fraction(1, 90000)
            out.start_encoding()
            for i in range(50):
                out.mux(video.encode(picture("yuv420p", 32, 24, i)))
                if i in (15, 35):
                    packet: av.Packet[Any] = av.Packet(b"\x20\0\x0f\x10\0\1\0\2\x0a\0\xff")
                    packet.stream, packet.time_base = text, Fraction(1, 90000)
                    packet.pts = packet.dts = i * 3600
                    out.mux(packet)
            out.mux(video.encode(None))
        parts.append(path.read_bytes())
    here, there = tmp_path / "a.ts", tmp_path / "b.mkv"
    here.write_bytes(b"".join(parts))
    assert lkdn_video(here, there) == 0
    (track,) = copies(there)
    shown = times(there)
    assert [float(p[1]) for p in track.packets if p[1] is not None] == pytest.approx(
        [float(shown[i]) for i in (15, 35, 65, 85)], abs=0.2
    )


def closed(*packets: tuple[str, int, int]) -> list[int]:
    """Where packets (kind of stream, time, duration) come, in ms, once the joints are closed."""
    joints, found = _Joints(), []
    for kind, time, duration in packets:
        stream, index = SimpleNamespace(type=kind), ("video", "audio", "subtitle").index(kind)
        packet = SimpleNamespace(stream=stream, stream_index=index, dts=time, pts=time)
        packet.duration, packet.time_base = duration, Fraction(1, 1000)
        joints.close(packet)  # type: ignore[arg-type]
        assert packet.pts == packet.dts
        found.append(packet.dts)
    return found


def test_a_stream_may_pause() -> None:
    pictures = [("video", time, 40) for time in range(0, 30_000, 5000)]
    packets = [("audio", 0, 20), *pictures, ("audio", 25_000, 20)]
    assert closed(*packets) == [time for _, time, _ in packets]


def test_a_packet_at_a_joint_lasts_as_long_as_others() -> None:
    parts = [("video", 0, 0), ("video", 40, 0), ("video", 500_000, 0), ("video", 900_000, 0)]
    assert closed(*parts) == [0, 40, 80, 120]


def test_a_late_subtitle_stays_in_its_part() -> None:
    first = [("video", time, 40) for time in (0, 40)]
    packets = [*first, ("video", 500_000, 40), ("subtitle", 60, 0), ("subtitle", 500_010, 0)]
    assert closed(*packets) == [0, 40, 80, 60, 90]


def test_damaged_sound_is_left_out(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packets of a transport stream get lost; the muxers look into AAC, and refuse some."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 25200, 3600), audio=({},))
    here, part = make_clip(tmp_path / "a.ts", clip), 188
    whole, data = len(copies(here)[0].packets), here.read_bytes()
    with av.open(str(here)) as container:
        places = [p.pos for p in container.demux(audio=0) if p.size and p.pos]
    gone = places[1] + part  # the second packet of what holds some frames of sound
    here.write_bytes(data[:gone] + data[gone + part :])
    for options in (("--segment", "0"), ("--segment", "3")):
        for there in (tmp_path / "b.mkv", tmp_path / "b.mp4"):
            assert lkdn_video(here, there, "-q", "-y", *options) == 3
            assert "beside the video too damaged" in capsys.readouterr().err
            assert len(times(there)) == 7
            assert 0 < len(copies(there)[0].packets) < whole


def test_sound_that_begins_late_is_found(tmp_path: Path, lkdn_video: Command) -> None:
    """FFmpeg looks for some seconds only, and copies no sound of which it knows nothing."""
    clip = Clip(
        rate=Fraction(5),
        time_base=Fraction(1, 90000),
        pts=range(0, 900000, 18000),
        audio=({},),
        audio_start=8 * 48000,
    )
    here, there = make_clip(tmp_path / "a.ts", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there) == 0
    (found,) = copies(there)
    assert found.packets[0][1] == pytest.approx(8, abs=0.1)


def test_interlaced_pictures_may_come_after_others(tmp_path: Path, lkdn_video: Command) -> None:
    """As on air, where studio and film follow each other; few frames are looked at before."""
    whole = replace(MPEG2, fields=None, options={"qscale": "2"}, pts=range(20))
    film = make_clip(tmp_path / "film.ts", whole)
    studio = make_clip(tmp_path / "studio.ts", MPEG2)
    here, plain = tmp_path / "a.ts", ("--codec", "ffv1")
    here.write_bytes(film.read_bytes() + studio.read_bytes())
    assert [f.interlaced_frame for f in frames(here)] == [False] * 19 + [True] * 8
    for name, options in (("auto", ()), ("bwdif", ("bwdif",)), ("off", ("off",))):
        words = ("--deinterlace", *options) if options else ()
        assert lkdn_video(here, tmp_path / f"{name}.mkv", *plain, *words) == 0
    auto, always, never = (
        [planes(f)[0] for f in frames(tmp_path / f"{name}.mkv")]
        for name in ("auto", "bwdif", "off")
    )
    assert all(np.array_equal(a, b) for a, b in zip(auto[:19], never[:19], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(auto[20:], always[20:], strict=True))
    assert not np.array_equal(auto[24], never[24])
