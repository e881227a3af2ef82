"""What can't work ends with one line on stderr, the right exit code, and nothing left behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from lkdn_cli.video import main
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, frames, planes, slashed

Folder = dict[str, str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A working folder with a good clip; the digest of each file in it."""
    make_clip(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("This is not a film.\n" * 50)
    (tmp_path / "empty.mkv").touch()
    (tmp_path / "noise.mkv").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "there.mp4").write_text("a file of somebody's own")
    (tmp_path / "folder.mp4").mkdir()
    sound_only(tmp_path / "sound.mkv")
    make_clip(tmp_path / "unknown.mov", Clip(codec="rawvideo", options={}))
    bayer(tmp_path / "bayer.nut")
    no_packets(tmp_path / "no_frames.mp4")
    no_packets(tmp_path / "sound_first.mkv", with_sound=True)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:3000])
    monkeypatch.chdir(tmp_path)
    return digests(tmp_path)


def digests(folder: Path) -> Folder:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as out:
        add_sound(out)


def bayer(path: Path) -> None:
    """Samples as a sensor gives them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25, width=34, height=26)
        stream.pix_fmt = "bayer_rggb8"
        frame = av.VideoFrame(34, 26, "bayer_rggb8")
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])


def no_packets(path: Path, *, with_sound: bool = False) -> None:
    """A file that promises a video but holds no frame of it."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, width=34, height=26)
        stream.pix_fmt = "yuv420p"
        out.start_encoding() if not with_sound else add_sound(out)


def add_sound(out: av.container.OutputContainer) -> None:
    stream = out.add_stream("pcm_s16le", rate=8000)
    frame = av.AudioFrame("s16", "stereo", 800)
    frame.sample_rate, frame.pts = 8000, 0
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    out.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("missing.mp4 out.mp4", 1, "missing.mp4: no such file"),
        ("text.mp4 out.mp4", 1, "text.mp4: is not a media file"),
        ("empty.mkv out.mp4", 1, "empty.mkv: is not a media file"),
        ("noise.mkv out.mp4", 1, "noise.mkv: is not a media file"),
        ("cut.mp4 out.mp4", 1, "cut.mp4: is not a media file"),
        ("folder.mp4 out.mp4", 1, "folder.mp4: pictures of one ending make a video, found none"),
        ("sound.mkv out.mkv", 1, "sound.mkv: has no video stream"),
        ("no_frames.mp4 out.mp4", 1, "no_frames.mp4: has no video stream"),
        ("unknown.mov out.mkv", 1, "unknown.mov: no frame of its video could be decoded"),
        ("bayer.nut out.mkv", 1, "bayer.nut: pixel format bayer_rggb8 is not supported"),
        ("sound_first.mkv out.mkv", 1, "sound_first.mkv: no frame of its video"),
        ("list.mp4 out.mp4", 1, "list.mp4: is a playlist"),
        ("list.m3u8 out.mp4", 1, "list.m3u8: is "),
        (
            "http://localhost/a.mp4 out.mp4",
            2,
            "input: files and folders are accepted, no addresses, got http://localhost/a.mp4",
        ),
        ("*.mp5 out.mp4", 1, "*.mp5: no such file, and none that matches it"),
        ("g*.mp4 there.mp4", 2, "output: there.mp4 is there already"),
        ("go*.mp4 te*.mp4 out.mp4", 2, "output: 2 inputs need -o FOLDER"),
        ("good.mp4 nowhere/out.mp4", 1, "nowhere/out.mp4: can't be written"),
        ("good.mp4 text.mp4/out.mp4", 1, "text.mp4/out.mp4: can't be written"),
        ("good.mp4 text.mp4/%d.png", 1, "text.mp4/%d.png: can't be written"),
        ("good.mp4 out.mp4 --weights text.mp4", 1, "weights: text.mp4"),
        ("good.mp4 out.mp4 --weights none.pth", 1, "weights: no such file: none.pth"),
        ("good.mp4 out.mp4 --codec nonsense", 2, "codec: a video encoder"),
        ("good.mp4 out.mp4 --codec aac", 2, "codec: a video encoder"),
        ("good.mp4 out.mp4 --codec libx256", 2, "codec: a video encoder of lkdn-video --list "),
        ("good.mp4 out.webm --codec libx264", 2, "codec: webm can't hold libx264; .mkv, .mp4, "),
        ("good.mp4 out.mov --codec libvpx-vp9", 2, "codec: mov can't hold libvpx-vp9; .mkv, "),
        ("good.mp4 out.mp4 --preset warp", 2, "preset: libx264 has ultrafast"),
        ("good.mp4 out.mp4 --codec libsvtav1 --crf 99", 2, "crf: libsvtav1 takes 0 to 63, got 99"),
        ("good.mp4 out.mp4 --crf 52", 2, "crf: libx264 takes -1 to 51, got 52"),
        ("good.mp4 out.mp4 --crf 20 --bitrate 1M", 2, "crf, bitrate: one of them is accepted"),
        ("good.mp4 out.mp4 --bitrate fast", 2, "argument --bitrate: bits a second like 800k"),
        ("good.mp4 out.mp4 --bitrate 5", 2, "argument --bitrate: bits a second like 800k"),
        ("good.mp4 out.mp4 --bitrate 0", 2, "argument --bitrate: bits a second like 800k"),
        ("good.mp4 out.mp4 --encoder-opt aq", 2, "argument --encoder-opt: NAME=VALUE is accepted"),
        (
            "good.mp4 out.mp4 --encoder-opt aqmode=1",
            2,
            "encoder_opt: libx264 has no option 'aqmode'; near it: aq-mode",
        ),
        (
            "good.mp4 out.mp4 --encoder-opt aq-mode=varaince",
            2,
            "encoder_opt aq-mode: libx264 has none, variance, autovariance, autovariance-biased, "
            "got 'varaince' (near it: variance)",
        ),
        (
            "good.mp4 out.mp4 --encoder-opt aq-mode=-2",
            2,
            "encoder_opt aq-mode: libx264 takes -1 to",
        ),
        (
            "good.mp4 out.mkv --codec ffv1 --encoder-opt slices=7",
            2,
            "codec: ffv1 refuses 68x52 yuv420p with level=3 g=1 slicecrc=1 slices=7",
        ),
        ("good.mp4 out.mp4 --encoder-opt g=often", 2, "encoder_opt g: libx264 has a number, got"),
        ("good.mp4 out.mkv --codec ffv1 --preset slow", 2, "preset: ffv1 has no such setting"),
        ("good.mp4 out.mkv --codec ffv1 --crf 3", 2, "crf: ffv1 has no such setting"),
        ("good.mp4 out.mp4 --pix-fmt rgb565le", 2, "pix_fmt: libx264 takes yuv420p"),
        ("good.mp4 out.mp4 --scale 9", 2, "scale: 1 to 8 is accepted, got 9"),
        ("good.mp4 out.mp4 --scale 5", 2, "scale: at most 4 is accepted with this network, got 5"),
        ("good.mp4 out.mp4 --scale 3", 2, "scale: "),
        ("--list colours", 2, "argument --list: invalid choice: 'colours'"),
        ("good.mp4 out.mp4 --hwaccel abacus", 2, "hwaccel: none, auto, "),
        ("good.mp4 out.mp4 --ffmpeg-vf hflip --ffmpeg nowhere", 2, "ffmpeg: --ffmpeg-vf needs"),
        ("good.mp4 out.mp4 --start soon", 2, "argument --start: seconds or hh:mm:ss.mmm are"),
        ("good.mp4 out.mp4 --start -1", 2, "argument --start: "),
        ("good.mp4 out.mp4 --start 9", 2, "start: good.mp4 shows no frame from 9 s on"),
        ("good.mp4 out.mp4 --start 0.2 --end 0.1", 2, "end: a time after start 0.2 is accepted"),
        ("good.mp4 out.mp4 --end 0", 2, "end: a time after start 0 is accepted, got 0"),
        ("good.mp4 out.mp4 --frames 0", 2, "argument --frames: a positive number is accepted"),
        ("good.mp4 out.mp4 --height 0", 2, "height: a positive number is accepted, got 0"),
        ("good.mp4 out.mp4 --width 40.5", 2, "argument --width: invalid int value: '40.5'"),
        ("good.mp4 out.mp4 --width 60 --fit cover", 2, "fit: cover needs both width and height"),
        ("good.mp4 out.mp4 --width 60 --fit crop", 2, "argument --fit: invalid choice: 'crop'"),
        (
            "good.mp4 out.mp4 --width 160",
            2,
            "width: at most 4 times the source's 34x26 is accepted, got 160, which is 4.71 times",
        ),
        ("good.mp4 out.mp4 --device abacus", 2, "device: "),
        ("good.mp4 out.mp4 --tile -8", 2, "tile: "),
        ("good.mp4 out.mp4 --nonsense", 2, "unrecognized arguments: --nonsense"),
        ("good.mp4", 2, "the following arguments are required: OUT"),
        ("good.mp4 out.xyz", 2, "output: a name ending in .mkv"),
        ("good.mp4 out", 2, "output: a name ending in .mkv"),
        ("good.mp4 there.mp4", 2, "output: there.mp4 is there already"),
        ("good.mp4 folder.mp4", 2, "output: folder.mp4 is a folder"),
        ("good.mp4 .", 2, "output: . is a folder"),
        ("good.mp4 good.mp4 -y", 2, "output: good.mp4 would overwrite the input"),
    ],
)
def test_one_line_and_the_code(
    *,
    folder: Folder,
    nearest: dict[int, Path],
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    defaults = ["--scale", "2", "--weights", str(nearest[2])]
    assert main(defaults + arguments.split()) == code
    said = capfd.readouterr()
    assert said.out == ""
    err = slashed(said.err).replace("choice: '5'", "choice: 5")  # quoted from Python 3.12.8 on
    assert err.startswith(f"lkdn-video: {message}")
    assert said.err.count("\n") == 1
    assert digests(Path()) == folder


@pytest.mark.parametrize(
    "link",
    [pytest.param(os.symlink, marks=pytest.mark.posix), os.link],
    ids=["symlink", "hardlink"],
)
def test_the_input_is_known_by_any_name(
    folder: Folder, lkdn_video: Command, link: Callable[[str, str], None]
) -> None:
    link("good.mp4", "other.mp4")
    assert lkdn_video(Path("good.mp4"), Path("other.mp4"), "-y") == 2
    assert lkdn_video(Path("other.mp4"), Path("good.mp4"), "-y") == 2
    assert digests(Path())["good.mp4"] == folder["good.mp4"]


def test_the_input_is_not_taken_for_a_leftover(folder: Folder, lkdn_video: Command) -> None:
    Path("good.mp4").rename("out.mp4.part")
    assert lkdn_video(Path("out.mp4.part"), Path("out.mp4")) == 2
    assert digests(Path())["out.mp4.part"] == folder["good.mp4"]


@pytest.mark.posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(folder: Folder, lkdn_video: Command) -> None:
    Path("closed").mkdir(mode=0o500)
    assert lkdn_video(Path("good.mp4"), Path("closed/out.mp4")) == 1
    assert digests(Path()) == folder


def test_pictures_that_change_size_are_made_like_the_first(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    small = make_clip(tmp_path / "a.ts", Clip(pts=range(5)))
    large = make_clip(tmp_path / "b.ts", Clip(pts=range(5, 10), size=(68, 52)))
    here = tmp_path / "c.ts"
    here.write_bytes(small.read_bytes() + large.read_bytes())
    out = tmp_path / "out.mkv"
    assert lkdn_video(here, out, "--scale", "2", "--codec", "ffv1") == 3
    assert "5 frames unlike the first, made like it" in capsys.readouterr().err
    made = frames(out)
    assert {(f.width, f.height) for f in made} == {(68, 52)}
    assert all(a.time < b.time for a, b in pairwise(made))
    for frame, source in zip(made[5:], frames(large), strict=True):
        alike = np.corrcoef(planes(frame)[0].ravel(), planes(source)[0].ravel())[0, 1]
        assert alike > 0.8  # half the size, and back


def test_what_was_there_survives_a_failure(folder: Folder, lkdn_video: Command) -> None:
    refused = ["--codec", "libsvtav1", "--crf", "99"]
    assert lkdn_video(Path("text.mp4"), Path("there.mp4"), "-y") == 1
    assert lkdn_video(Path("good.mp4"), Path("there.mp4"), "-y", *refused) == 2
    assert digests(Path()) == folder


def command(*arguments: str) -> list[str]:
    code = "import sys; from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", code, *arguments]


def environment() -> dict[str, str]:
    """The checkout's packages and one thread, for a process of its own."""
    root = Path(__file__).parents[2]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'cli'}", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    options = {"preset": "ultrafast", "qp": "20"}
    return make_clip(tmp_path / "long.mkv", Clip(size=(320, 240), pts=range(100), options=options))


@pytest.mark.posix
def test_a_full_disk(long_clip: Path, tmp_path: Path, nearest: dict[int, Path]) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    run = command("long.mkv", "out.mkv", "--scale", "2", "--weights", str(nearest[2]), "-q")
    result = subprocess.run(
        [*run, "--preset", "ultrafast"],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "lkdn-video: out.mkv: can't be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["long.mkv"]


@pytest.mark.posix
def test_ctrl_c_leaves_nothing(long_clip: Path, tmp_path: Path, nearest: dict[int, Path]) -> None:
    before = digests(tmp_path)
    run = command("long.mkv", "out.mkv", "--scale", "2", "--weights", str(nearest[2]))
    with subprocess.Popen(
        run, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        while not (tmp_path / "out.mkv.part").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said == "lkdn-video: interrupted\n"
    assert digests(tmp_path) == before


@pytest.mark.posix
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing(
    kind: signal.Signals, long_clip: Path, tmp_path: Path, nearest: dict[int, Path]
) -> None:
    """Not even while Python ends."""
    code = "import sys; sys.argv[0] = 'lkdn-video'; from lkdn_cli.video import main; "
    code += "code = main(sys.argv[1:]); print('over', flush=True); import time; time.sleep(9)"
    run = [sys.executable, "-c", code, "long.mkv", "out.mkv", "--weights", str(nearest[2])]
    with subprocess.Popen(
        [*run, "--scale", "2"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "out.mkv.part").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(kind)
        assert process.stdout is not None and process.stdout.readline() == "over\n"
        process.send_signal(kind)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said == "lkdn-video: interrupted\n"
    assert list(tmp_path.iterdir()) == [long_clip]


@pytest.mark.posix
def test_a_folder_that_is_gone(long_clip: Path, tmp_path: Path) -> None:
    code = "import os, sys; os.rmdir(os.getcwd()); "
    code += "from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    (tmp_path / "gone").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", code, str(long_clip), str(tmp_path / "out.mkv")],
        cwd=tmp_path / "gone",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = "lkdn-video: the current folder can't be used: No such file or directory\n"
    assert (result.returncode, result.stderr) == (1, said)


def test_verbose_shows_the_traceback(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text.mp4", "out.mp4", "-v"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("damaged at its start\n")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_goes_to_stdout(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    said = capsys.readouterr()
    assert "lkdn-video" in said.out
    assert said.err == ""
