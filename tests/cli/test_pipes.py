"""``-``: y4m and bare samples on standard input and output."""

import io
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from threading import Thread

import av
import numpy as np
import pytest

from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.pipes import stdin_opener
from lkdn_media.plan import make_plan
from lkdn_media.probe import probe
from tests.cli.clips import Clip, Tags, make_clip, samples
from tests.cli.media import Command, colour, frames, planes

LOSSLESS = {"codec": "ffv1", "options": {}}


@dataclass
class Pipe:
    """Stands in for ``sys.stdin``: bytes that can only be read once."""

    buffer: io.BufferedReader


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A function that puts bytes into standard input."""

    def put(data: bytes) -> None:
        read, write = os.pipe()

        def fill() -> None:  # beside the reader, since a pipe holds 64 KiB
            with suppress(BrokenPipeError), open(write, "wb") as file:
                file.write(data)

        Thread(target=fill, daemon=True).start()
        monkeypatch.setattr(sys, "stdin", Pipe(os.fdopen(read, "rb")))

    return put


def y4m(header: str, pix_fmt: str, size: tuple[int, int], count: int = 5) -> bytes:
    """A y4m stream of our own making, byte by byte."""
    data = f"YUV4MPEG2 W{size[0]} H{size[1]} {header}\n".encode()
    for number in range(count):
        data += b"FRAME\n" + b"".join(p.tobytes() for p in samples(pix_fmt, *size, number))
    return data


CASES = [
    ("F25:1 Ip A1:1 C420jpeg", "yuv420p", (34, 26)),
    ("F24000:1001 Ip A8:9 C420mpeg2 XCOLORRANGE=FULL", "yuv420p", (34, 26)),
    ("F25:1 Ip A1:1 C422", "yuv422p", (34, 26)),
    ("F25:1 Ip A1:1 C444", "yuv444p", (33, 25)),
    ("F25:1 Ip A1:1 Cmono", "gray", (33, 25)),
    ("F50:1 Ip A1:1 C420p10 XYSCSS=420P10", "yuv420p10le", (34, 26)),
    ("F25:1 Ip A1:1 C444p12 XYSCSS=444P12", "yuv444p12le", (34, 26)),
    ("F25:1 Ip A1:1 C422p16 XYSCSS=422P16", "yuv422p16le", (34, 26)),
    ("F25:1 Ip A1:1 Cmono16", "gray16le", (34, 26)),
]


@pytest.mark.parametrize(("header", "pix_fmt", "size"), CASES, ids=[c[1] + c[0][:9] for c in CASES])
def test_y4m_in_and_out(  # noqa: PLR0917
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    capfdbinary: pytest.CaptureFixture[bytes],
    header: str,
    pix_fmt: str,
    size: tuple[int, int],
) -> None:
    """Header kept but for the size; luma repeated, as the network does."""
    stdin(y4m(header, pix_fmt, size))
    assert lkdn_video(Path("-"), Path("-"), "-q") == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    words = out.split(b"\n", 1)[0].decode().split()
    assert words[1:3] == [f"W{2 * size[0]}", f"H{2 * size[1]}"]
    assert set(header.replace("A1:1", "A1:1").split()) <= set(words)
    with av.open(io.BytesIO(out), format="yuv4mpegpipe") as container:
        shown = list(container.decode(video=0))
    assert [frame.format.name for frame in shown] == [pix_fmt] * 5
    for number, frame in enumerate(shown):
        luma = samples(pix_fmt, *size, number)[0].astype(int)
        new = planes(frame)[0][: 2 * size[1], : 2 * size[0]].astype(int)
        bits = frame.format.components[0].bits
        assert np.abs(new - luma.repeat(2, 0).repeat(2, 1)).max() <= 2 ** max(0, bits - 10)


@pytest.mark.parametrize("options", [(), ("--headroom",)])
def test_codes_beyond_black_and_white(
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    capfdbinary: pytest.CaptureFixture[bytes],
    options: tuple[str, ...],
) -> None:
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stdin(b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 Cmono\nFRAME\n" + luma.tobytes())
    assert lkdn_video(Path("-"), Path("-"), "-q", *options) == 0
    with av.open(io.BytesIO(capfdbinary.readouterr().out), format="yuv4mpegpipe") as container:
        new = planes(next(container.decode(video=0)))[0].astype(int)
    kept = luma.astype(int) if options else luma.clip(16, 235).astype(int)
    assert np.abs(new[:32, :32] - kept.repeat(2, 0).repeat(2, 1)).max() <= 1


def test_headroom_that_the_output_lacks_is_named(tmp_path: Path) -> None:
    source = probe(make_clip(tmp_path / "in.mp4", Clip(pts=range(2))))
    word, choice = "no headroom", EncoderChoice()
    for target, lacking in (("%05d.png", True), ("out.mkv", False)):
        plan = make_plan(source, tmp_path / target, scale=2, choice=choice, headroom=True)
        assert any(word in line for line in plan.warnings) is lacking
    assert not any(
        word in line
        for line in make_plan(source, tmp_path / "%05d.png", scale=2, choice=choice).warnings
    )


def test_y4m_to_a_file(lkdn_video: Command, stdin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    stdin(y4m("F30000:1001 Ip A8:9 C420mpeg2 XCOLORRANGE=FULL", "yuv420p", (34, 26), 20))
    target = tmp_path / "b.mkv"
    assert lkdn_video(Path("-"), target) == 0
    with av.open(str(target)) as result:
        stream = result.streams.video[0]
        assert stream.average_rate == Fraction(30000, 1001)
        assert stream.sample_aspect_ratio == Fraction(8, 9)
    shown = frames(target)
    assert len(shown) == 20
    assert colour(shown[0]) == (6, 6, 6, 2, 1)  # as small pictures are understood; full range; left


def test_interlaced_y4m_is_deinterlaced(
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin(y4m("F25:1 It A1:1 C420mpeg2", "yuv420p", (34, 26)))
    assert lkdn_video(Path("-"), tmp_path / "b.mkv") == 0
    assert "flagged as interlaced, and goes through bwdif" in capsys.readouterr().err
    assert len(frames(tmp_path / "b.mkv")) == 5


def test_a_file_to_y4m_says_what_is_lost(
    lkdn_video: Command, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    here = make_clip(tmp_path / "a.mkv", Clip(audio=[{}], metadata={"title": "T"}))
    assert lkdn_video(here, Path("-")) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"YUV4MPEG2 W68 H52 F25:1 Ip A0:0 C420mpeg2")
    assert out.count(b"FRAME\n") == 7
    assert b"dropped, since yuv4mpegpipe can't hold them: #1 audio aac" in err
    assert b"can't hold the tags title" in err


def test_rgb_becomes_444(
    lkdn_video: Command, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    clip = replace(Clip(), pix_fmt="gbrp10le", tags=Tags.none(), pts=(0,), **LOSSLESS)
    assert lkdn_video(make_clip(tmp_path / "a.mkv", clip), Path("-"), "-q") == 0
    assert b" C444p10 " in capfdbinary.readouterr().out.split(b"\n", 1)[0]


def test_samples_that_end_within_a_picture_are_salvaged(
    tmp_path: Path,
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = [p.tobytes() for number in range(3) for p in samples("yuv420p", 34, 26, number)]
    stdin(b"".join(whole)[:-100])
    assert lkdn_video(Path("-"), tmp_path / "b.mkv", "--raw", "34x26") == 3
    assert "warning: -: 1 packet could not be decoded" in capsys.readouterr().err
    assert len(frames(tmp_path / "b.mkv")) == 2


def test_raw_in_and_out(
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    sent = [samples("yuv420p10le", 34, 26, i) for i in range(3)]
    stdin(b"".join(plane.tobytes() for picture in sent for plane in picture))
    options = "--raw 34x26 --raw-pix-fmt yuv420p10le --fps 24000/1001 -f rawvideo -q"
    assert lkdn_video(Path("-"), Path("-"), *options.split()) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    size = 68 * 52 * 3  # 4:2:0 of two bytes
    assert len(out) == 3 * size
    for number, picture in enumerate(sent):
        luma = np.frombuffer(out, np.uint16, 68 * 52, number * size).reshape(52, 68)
        assert np.abs(luma.astype(int) - picture[0].repeat(2, 0).repeat(2, 1)).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "data", "code", "message"),
    [
        ("- out.mkv", b"", 1, "standard input: is not y4m"),
        ("- out.mkv", b"\x1aE\xdf\xa3 no y4m", 1, "standard input: is not y4m"),
        ("- out.mkv --start 1", b"", 2, "start, end, frames: a file is needed"),
        ("- out.mkv --raw 0x5", b"", 2, "a size such as 640x360"),
        ("- out.mkv --raw 8x8 --fps 0", b"", 2, "a number such as 24 or 24000/1001, got '0'"),
        ("- out.mkv --raw 8x8 --raw-pix-fmt no", b"", 2, "--raw-pix-fmt: a pixel format of FFmpeg"),
        ("a.mkv - --compare p.html", b"", 2, "compare: both IN and OUT must be files"),
        ("a.mkv - --crf 0", b"", 2, "crf: is for encoders, and - has none, got 0.0"),
        ("a.mkv - --encoder-opt x=1 --encoder-opt y=2", b"", 2, "encoder_opt: is for encoders"),
        ("a.mkv - --codec libx264", b"", 2, "codec: is for encoders, and - has none, got libx264"),
        ("a.mkv - --pix-fmt gbrp", b"", 2, "pix_fmt: rawvideo takes yuv420p"),
        ("a.mkv b.mkv -f y4m", b"", 2, "format: y4m, rawvideo, mkv go to a pipe, named -"),
        ("a.mkv b.mkv -f mkv", b"", 2, "go to a pipe, named -, got mkv for b.mkv"),
        ("a.mkv b.mkv --fps 5", b"", 2, "fps: is for --raw and for pictures"),
        ("a.mkv b.mkv --raw 8x8", b"", 2, "raw: is for input from a pipe"),
    ],
)
def test_one_line_and_the_code(  # noqa: PLR0917
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    capfdbinary: pytest.CaptureFixture[bytes],
    arguments: str,
    data: bytes,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"), Clip(pts=(0,)))
    stdin(data)
    source, target, *options = arguments.split()
    assert lkdn_video(Path(source), Path(target), *options) == code
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert message in err.decode()
    assert len(err.splitlines()) == 1
    assert os.listdir() == ["a.mkv"]


def test_a_stream_cut_in_a_frame_is_salvaged(
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin(y4m("F25:1 Ip A1:1 C420mpeg2", "yuv420p", (34, 26))[:-100])
    assert lkdn_video(Path("-"), tmp_path / "b.mkv") == 3
    assert "-: the file ends before its time" in capsys.readouterr().err
    assert len(frames(tmp_path / "b.mkv")) == 4


def test_fields_of_many_kinds_are_refused_by_name(
    lkdn_video: Command,
    stdin,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin(y4m("F25:1 Im A1:1 C420mpeg2", "yuv420p", (34, 26)))
    assert lkdn_video(Path("-"), tmp_path / "b.mkv") == 1
    assert "is not y4m of one kind of fields: p, t or b is accepted, got Im" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("pix_fmt", "location", "name", "put"),
    [
        ("yuv420p", 1, "C420mpeg2", "left"),
        ("yuv420p", 2, "C420jpeg", "center"),
        ("yuv420p", 3, "C420paldv", "topleft"),
        ("yuv420p", 4, "C420mpeg2", "left"),  # above the middle, which y4m can't say
        ("yuv420p10le", 3, "C420p10", "left"),  # with more bits it says nothing
        ("yuv422p", 3, "C422", "left"),
    ],
)
def test_chroma_lies_where_y4m_says(  # noqa: PLR0917
    tmp_path: Path,
    lkdn_video: Command,
    capfdbinary: pytest.CaptureFixture[bytes],
    pix_fmt: str,
    location: int,
    name: str,
    put: str,
) -> None:
    """Where it can't, readers take it for left, so there it is put."""
    tags = Tags(chroma_location=location)
    clip = replace(Clip(), pix_fmt=pix_fmt, tags=tags, pts=(0,), **LOSSLESS)
    here = make_clip(tmp_path / "a.mkv", clip)
    assert frames(here)[0].chroma_location == location
    assert lkdn_video(here, Path("-"), "-q") == 0
    assert f" {name} ".encode() in capfdbinary.readouterr().out.split(b"\n", 1)[0]
    plan = make_plan(probe(here), Path("-"), scale=2, choice=EncoderChoice())
    assert plan.output_format.chroma_location == put


def test_a_pipe_is_recorded_until_it_is_read_again() -> None:
    data = y4m("F25:1 Ip A1:1 C420mpeg2", "yuv420p", (34, 26), 40)
    opened = stdin_opener(io.BufferedReader(io.BytesIO(data)), None)  # type: ignore[type-var]
    with opened() as first:
        next(first.decode(video=0))
    with opened() as second:
        assert len(list(second.decode(video=0))) == 40


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_the_pipe_is_named(tmp_path: Path, nearest: dict[int, Path]) -> None:
    make_clip(tmp_path / "a.mkv", Clip())
    code = "import sys; from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    weights = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
    command = [sys.executable, "-c", code, str(tmp_path / "a.mkv"), "-", "-q", *weights]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    last = ended.stderr.decode().splitlines()[-1]
    assert last == "lkdn-video: standard output: can't be written: No space left on device"
    assert ended.returncode == 1


@pytest.mark.slow
def test_a_reader_that_goes_away(tmp_path: Path, nearest: dict[int, Path]) -> None:
    make_clip(tmp_path / "a.mkv", Clip(size=(320, 180), pts=range(60)))
    code = "import sys; from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    weights = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
    command = [sys.executable, "-c", code, "a.mkv", "-", "-q", *weights]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(9) == b"YUV4MPEG2"
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=60) == 1
    *warnings, last = said.decode().splitlines()
    assert last == "lkdn-video: standard output: its reader has closed it"
    assert all(line.startswith("lkdn-video: warning: ") for line in warnings)


def test_closed_streams(
    tmp_path: Path,
    lkdn_video: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ``<&-`` and ``>&-`` leave them, and programs without a console."""
    here = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1)))
    for name, arguments in (("input", ("-", here)), ("output", (here, "-"))):
        with monkeypatch.context() as patch:
            patch.setattr(sys, f"std{name[:-3]}", None)
            assert lkdn_video(*arguments, "-y") == 1
        assert capsys.readouterr().err.endswith(f"lkdn-video: standard {name}: is closed\n")
