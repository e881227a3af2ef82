"""Sound and subtitles encoded anew, odd ones too, and streams that nothing decodes."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lkdn_media.damage import Damage
from lkdn_media.probe import probe
from lkdn_media.recode import PCM, Recoder
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, copies, sound, times

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
        recoder = Recoder(source.streams.audio[0], out, codec, Damage())
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


def test_damage_of_what_is_encoded_anew_is_told(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = add_sound(tmp_path / "a.mkv", [(0, TONE)], "flac", "stereo")
    with av.open(str(here)) as file:
        packets = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    data = here.read_bytes()
    for packet in sorted(packets, key=len)[-3:]:
        data = data.replace(packet, b"\xff" * len(packet))
    here.write_bytes(data)
    assert lkdn_video(here, tmp_path / "b.mov") == 3
    assert "3 packets beside the video too damaged to be copied" in capsys.readouterr().err


def test_subtitles_that_are_no_text_are_told(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(subtitles="subrip"))
    here.write_bytes(here.read_bytes().replace(b"Zeile 1", b"Z\xe9ile 1"))
    assert lkdn_video(here, tmp_path / "b.mp4") == 3
    assert "1 packet beside the video too damaged to be copied" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("codec", "ending", "segment"),
    [("adpcm_ms", "avi", "0"), ("pcm_mulaw", "avi", "3"), ("pcm_bluray", "m2ts", "0")],
)
def test_sound_that_fits_as_samples_only(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    ending: str,
    segment: str,
) -> None:
    clip = Clip(audio=({"language": "deu"},), audio_codec=codec)
    here, there = make_clip(tmp_path / f"a.{ending}", clip), tmp_path / "b.mkv"
    assert lkdn_video(here, there, "--dry-run") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[1].endswith(" -> pcm, its samples")
    assert lkdn_video(here, there, "--segment", segment) == 0
    (before, old), (after, new) = sound(here), sound(there)
    assert np.array_equal(old, new)
    assert after == pytest.approx(before - float(probe(here).start), abs=0.001)
    assert copies(there)[0].tags == copies(here)[0].tags


@pytest.mark.parametrize(
    ("codec", "source", "target", "new"),
    [("aac", "a.mkv", "b.webm", "libopus"), ("pcm_mulaw", "a.avi", "b.mp4", "aac")],
)
@pytest.mark.parametrize("more", [["--segment", "3"], ["--start", "0.12", "--segment", "0"]])
def test_sound_that_does_not_fit_is_encoded_anew(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    source: str,
    target: str,
    new: str,
    more: list[str],
) -> None:
    """In step with the picture, to the sample."""
    clip = Clip(audio=({"language": "deu"},), audio_codec=codec)
    here, there = make_clip(tmp_path / source, clip), tmp_path / target
    assert lkdn_video(here, there, "--dry-run") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].endswith(f" -> {new}, encoded anew")
    why = f"since {there.suffix[1:]} can't hold it: #1 audio {codec}"
    assert f"lkdn-video: warning: encoded anew as {new}, {why}" in said.err
    assert lkdn_video(here, there, *more) == 0
    assert copies(there)[0].tags.get("language") == copies(here)[0].tags.get("language", "und")
    (before, old), (after, heard) = sound(here), sound(there)
    if old.dtype.kind == "i":  # samples of two channels in turn
        old = old.reshape(1, -1, 2)[..., 0] / np.iinfo(old.dtype).max
    shown = [t - times(here)[0] for t in times(here)]
    cut = next(t for t in shown if t >= (0.12 if "--start" in more else 0))
    first = round((after + cut - before) * 48000)
    length = min(old.shape[1] - first, heard.shape[1]) - 1024
    assert length > 48000 * (0.29 - cut) - 3072
    middle = heard[0, 2048:length]
    # Matroska's times are rounded to milliseconds.
    off = [np.abs(middle - old[0, first + d + 2048 :][: len(middle)]).max() for d in range(-48, 49)]
    assert min(off) < 0.02


@pytest.mark.parametrize(
    ("subtitles", "target", "new", "text"),
    [
        ("subrip", "b.mp4", "mov_text", b"\0\7Zeile 1"),
        ("ass", "b.mov", "mov_text", b"\0\7Zeile 1"),
        ("mov_text", "b.mkv", "subrip", b"Zeile 1"),
        ("subrip", "b.webm", "webvtt", b"Zeile 1"),
    ],
)
def test_subtitles_that_do_not_fit_are_encoded_anew(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    subtitles: str,
    target: str,
    new: str,
    text: bytes,
) -> None:
    source = "a.mp4" if subtitles == "mov_text" else "a.mkv"
    here, there = make_clip(tmp_path / source, Clip(subtitles=subtitles)), tmp_path / target
    assert lkdn_video(here, there, "--dry-run") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].endswith(f" -> {new}, encoded anew")
    assert (f"encoded anew as {new}, since" in said.err) == (subtitles == "ass")
    assert lkdn_video(here, there) == 0
    (old,), (kept,) = copies(here), copies(there)
    assert kept.tags["language"] == old.tags["language"]
    written = [p for p in kept.packets if p[0].strip(b"\0")]
    assert written[1][0] == text
    assert [p[1:] for p in written] == [p[1:] for p in old.packets if p[0].strip(b"\0")]
