"""Sound and subtitles encoded anew: what is odd in them, and streams that nothing decodes."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lkdn_media.recode import PCM, Recoder
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies, sound

TONE = 0.2 * np.sin(np.arange(48000) / 35, dtype=np.float32)


def add_sound(path: Path, pieces: list[tuple[int, NDArray[Any]]], codec: str, layout: str) -> Path:
    """``path``, a clip of 1 s with ``pieces`` of sound: (first sample, samples), alike in all."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25, width=34, height=26)
        audio = out.add_stream(codec, rate=48000, layout=layout)
        out.start_encoding()
        packets = []
        for number in range(25):
            frame = av.VideoFrame(34, 26, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += video.encode(frame)
        for start, piece in pieces:
            for at in range(0, len(piece), 1536):
                part = np.stack([piece[at : at + 1536]] * audio.layout.nb_channels)
                new = av.AudioFrame.from_ndarray(part, "fltp", layout)
                new.sample_rate, new.pts, new.time_base = 48000, start + at, Fraction(1, 48000)
                packets += audio.encode(new)
        for packet in (*packets, *video.encode(None), *audio.encode(None)):
            out.mux(packet)
    return path


def test_sound_whose_channels_change(tmp_path: Path, lkdn_video: Command) -> None:
    """As where a film of a broadcast ends and the news begin."""
    parts = [
        add_sound(tmp_path / f"{layout}.ts", [(0, TONE)], "ac3", layout)
        for layout in ("stereo", "mono")
    ]
    here, there = tmp_path / "a.ts", tmp_path / "b.webm"
    here.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert lkdn_video(here, there) == 0
    _, heard = sound(there)
    assert heard.shape[1] == pytest.approx(2 * 49152, abs=1024)
    for half in (heard[:, 4800:43200], heard[:, 54000:91200]):
        assert 0.1 < np.abs(half[0]).max() < 0.25  # one channel goes into two at half the power


def test_silence_fills_gaps_in_front_of_samples(tmp_path: Path, lkdn_video: Command) -> None:
    """MOV has no times for samples: all that follows would be early."""
    pieces = [(0, TONE[:13824]), (30720, TONE[:13824])]  # whole packets of FLAC
    here = add_sound(tmp_path / "a.mkv", pieces, "flac", "mono")
    assert lkdn_video(here, tmp_path / "b.mov") == 0
    _, heard = sound(tmp_path / "b.mov")
    assert heard.shape[1] == pytest.approx(44544, abs=48)  # Matroska rounds to milliseconds
    loud = np.abs(heard[0]) > 0
    assert not loud[13824:30672].any()
    assert loud[30800:].mean() > 0.9


def recoded(here: Path, there: Path, codec: str, *, wrong: int | None = None) -> NDArray[Any]:
    """The sound of ``here`` as `Recoder` leaves it; packet ``wrong`` says it is 20 s later."""
    with av.open(str(here)) as source, av.open(str(there), "w") as out:
        recoder = Recoder(source.streams.audio[0], out, codec)
        for number, packet in enumerate(source.demux(audio=0)):
            if number == wrong and packet.pts is not None:
                packet.pts += 20_000
            for new in recoder.packets(packet if packet.size else None):
                new.stream = recoder.stream
                out.mux(new)
    return sound(there)[1]


def test_one_wrong_time_makes_no_silence(tmp_path: Path) -> None:
    here = add_sound(tmp_path / "a.mkv", [(0, TONE[:46080])], "flac", "mono")
    assert recoded(here, tmp_path / "b.mov", PCM, wrong=4).shape[1] == 46080


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    """An encoder refuses them, which is no reason to give up."""
    broken = TONE.copy()
    broken[15000:15100] = np.nan
    here = add_sound(tmp_path / "a.mkv", [(0, broken)], "pcm_f32le", "mono")
    assert recoded(here, tmp_path / "b.mp4", "aac").shape[1] > 40000


@pytest.mark.parametrize(
    ("clip", "name", "known", "kind"),
    [
        (Clip(audio=({},), audio_codec="aac"), "a.mkv", b"A_AAC", "audio"),
        (Clip(subtitles="subrip"), "a.mkv", b"S_TEXT/UTF8", "subtitle"),
    ],
)
def test_streams_that_nothing_decodes(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    clip: Clip,
    name: str,
    known: bytes,
    kind: str,
) -> None:
    here = make_clip(tmp_path / name, clip)
    here.write_bytes(here.read_bytes().replace(known, known[:-1] + b"?"))
    assert lkdn_video(here, tmp_path / "b.mkv", "-q") == 0
    said = f"dropped, since matroska can't hold them: #1 {kind}"
    assert said in capsys.readouterr().err
    assert copies(tmp_path / "b.mkv") == []


def test_captions_are_not_told_at_wrong_times(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decoder gives each only with the packet of the next one."""
    here, codes = tmp_path / "a.mov", (0x94AE, 0x9420, 0x9470, 0xC8E5, 0xECEC, 0xEF80, 0x942F)
    with av.open(str(here), "w") as out:
        video = out.add_stream("mpeg4", rate=25, width=34, height=26)
        text = out.add_mux_stream("eia_608")
        out.start_encoding()
        frames = []
        for number in range(25):
            frames.append(av.VideoFrame(34, 26, "yuv420p"))
            frames[-1].pts, frames[-1].time_base = number, Fraction(1, 25)
        packets = [packet for frame in (*frames, None) for packet in video.encode(frame)]
        for start in (100, 500):
            data = b"".join(b"\xfc" + code.to_bytes(2) for code in codes)
            packet: av.Packet[av.stream.Stream] = av.Packet(data)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = 400
            packets.append(packet)
        for packet in packets:
            out.mux(packet)
    assert lkdn_video(here, tmp_path / "b.mkv", "--dry-run") == 0
    assert "dropped, since matroska can't hold them: #1 subtitle" in capsys.readouterr().err
