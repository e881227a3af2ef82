"""What users of other programs type, and what they expect of it."""

import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from lkdn_cli.video import main
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, ImageCommand, copies, frames

TWO = [{"language": "deu"}, {"language": "eng"}]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_clip(Path("a.mp4"), Clip(pts=range(2)))


@pytest.mark.parametrize(
    "line", ["a.mp4 {} b.mkv", "{} a.mp4 b.mkv", "a.mp4 -q b.mkv {}", "a.mp4 {} -o b.mkv"]
)
def test_options_anywhere_and_a_file_behind_o(
    here: Path, nearest: dict[int, Path], line: str
) -> None:
    options = f"--scale 2 --weights {nearest[2]} --device cpu"
    assert main(line.format(options).split()) == 0
    assert len(frames(Path("b.mkv"))) == 2


def test_pictures_and_a_pipe_behind_o(
    here: Path, nearest: dict[int, Path], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    options = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu", "-q"]
    assert main(["a.mp4", "-o", "large/%03d.png", *options]) == 0
    assert sorted(path.name for path in Path("large").iterdir()) == ["001.png", "002.png"]
    assert main(["a.mp4", "-o", "-", *options]) == 0
    assert capfdbinary.readouterr().out.startswith(b"YUV4MPEG2 W68 H52 ")
    assert sorted(path.name for path in Path().iterdir()) == ["a.mp4", "large"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.avi", "output: a name ending in .mkv, "),
        ("b.ts", "output: a name ending in .mkv, "),
    ],
)
def test_a_file_we_do_not_write_behind_o(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    assert main(["a.mp4", "-o", name]) == 2
    assert capsys.readouterr().err.startswith(f"lkdn-video: {message}")
    assert not Path(name).exists()


@pytest.mark.parametrize("source", ["a.mp4 c.mp4", "films"])
def test_one_file_for_many(here: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    make_clip(Path("c.mp4"))
    Path("films").mkdir()
    assert main([*source.split(), "-o", "b.mp4"]) == 2
    said = "lkdn-video: output: b.mp4 is a name of a file; a folder is b.mp4/\n"
    assert capsys.readouterr().err == said
    assert not Path("b.mp4").exists()
    assert main([*source.split(), "-o", "-"]) == 2
    assert capsys.readouterr().err == "lkdn-video: output: - is a pipe, for one video\n"


def test_one_picture_for_many(
    here: Path, lkdn_image: ImageCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.png", "2.png"):
        Image.new("L", (3, 3)).save(name)
    assert lkdn_image("1.png", "2.png", "b.png") == 2
    assert "output: b.png is a name of a file; a folder is b.png/" in capsys.readouterr().err
    assert lkdn_image("1.png", "b.mp4") == 2
    assert "got 'b.mp4'; lkdn-video enlarges videos" in capsys.readouterr().err
    assert lkdn_image("1.png", "2.png", "b.png/") == 0
    assert sorted(path.name for path in Path("b.png").iterdir()) == ["1.png", "2.png"]
    for arguments in (["1.png", "2.png", "out.mkv"], [".", "-o", "out"]):
        here.unlink(missing_ok=True)
        assert main(arguments) == 2
        assert "for one video of pictures IN is their folder" in capsys.readouterr().err


def test_all_to_one_container(here: Path, nearest: dict[int, Path]) -> None:
    Path("films").mkdir()
    make_clip(Path("films/b.avi"), Clip(codec="mpeg4", options={}, pts=range(2)))
    make_clip(Path("films/c.gif"), Clip(codec="gif", pix_fmt="gray", options={}, pts=range(2)))
    own = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu", "-q"]
    assert main(["a.mp4", "films", "-o", "out", "-f", "mov", *own]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.mov", "b.mov", "c.mov"]
    assert main(["films", "-o", "as_they_are", *own]) == 0
    assert sorted(path.name for path in Path("as_they_are").iterdir()) == ["b.mkv", "c.gif"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a.mp4 b.mkv -f mkv",
            "format: y4m, rawvideo, mkv go to a pipe, named -, got mkv for b.mkv",
        ),
        ("a.mp4 - -f mp4", "format: y4m, rawvideo, mkv go to a pipe, named -, got mp4 for -"),
        ("a.mp4 -o out -f y4m", "format: .mkv, .mp4, .m4v, .mov, .webm, .apng, .gif are files"),
        ("a.mp4 b.jpg", "got 'b.jpg'; lkdn-image enlarges pictures"),
        ("a.mp4 b.mkv --codec nvenc", "(near it: av1_nvenc, h264_nvenc, hevc_nvenc)"),
        ("a.mp4 b.mkv --drop sound", "drop: audio, subtitle, cover, attachment, data, video, a"),
        ("a.mp4 b.mkv --drop #7", "drop: beside its video a.mp4 has nothing, got #7"),
    ],
)
def test_what_is_meant_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert main(line.split()) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said


@pytest.mark.parametrize(
    ("unwanted", "left"),
    [
        ("audio", ["subtitle", "attachment"]),
        ("audio:deu subtitle attachment", ["audio"]),
        ("#1 #4", ["audio", "subtitle"]),
        ("audio #1 #4", ["subtitle"]),
        ("cover data video audio:fre", ["audio", "audio", "subtitle", "attachment"]),
    ],
)
def test_streams_of_choice(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    unwanted: str,
    left: list[str],
) -> None:
    clip = Clip(audio=TWO, subtitles="ass", attachment=b"glyphs", pts=range(3))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mkv"
    options = [word for name in unwanted.split() for word in ("--drop", name)]
    assert lkdn_video(here, there, *options, "-q") == 0
    assert [copy.kind for copy in copies(there)] == left
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("profile", "pix_fmt", "alpha"),
    [("4444", "yuva444p12le", True), ("hq", "yuv422p10le", False), ("3", "yuv422p10le", False)],
)
def test_profiles_of_prores(
    *,
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    profile: str,
    pix_fmt: str,
    alpha: bool,
) -> None:
    clip = Clip(codec="ffv1", pix_fmt="yuva444p10le", options={}, pts=range(1))
    here, there = make_clip(tmp_path / "a.mkv", clip), tmp_path / "b.mov"
    options = ("--codec", "prores", "--encoder-opt", f"profile={profile}")
    assert lkdn_video(here, there, *options) == 0
    assert frames(there)[0].format.name == pix_fmt
    assert ("transparency is lost with prores_ks in mov" in capsys.readouterr().err) != alpha


@pytest.mark.parametrize(
    ("target", "pix_fmt"), [("b.mp4", "yuv420p"), ("b.mov", "yuv420p"), ("b.mkv", "yuv444p")]
)
def test_rgb_in_mp4_is_what_players_have(
    tmp_path: Path,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    target: str,
    pix_fmt: str,
) -> None:
    clip = Clip(codec="gif", pix_fmt="gray", options={}, pts=range(2))
    here, there = make_clip(tmp_path / "a.gif", clip), tmp_path / target
    assert lkdn_video(here, there) == 0
    assert frames(there)[0].format.name == pix_fmt
    coarser = f"is written as {pix_fmt}, with coarser chroma"
    assert (coarser in capsys.readouterr().err) == (pix_fmt == "yuv420p")
    assert lkdn_video(here, there, "--pix-fmt", "yuv444p", "-y") == 0
    assert frames(there)[0].format.name == "yuv444p"


def test_samples_in_mp4_are_told_of(
    tmp_path: Path, lkdn_video: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = Clip(audio=TWO[:1], audio_codec="pcm_s24le", pts=range(3))
    here = make_clip(tmp_path / "a.mov", clip)
    assert lkdn_video(here, tmp_path / "b.mov") == 0
    assert "few players" not in capsys.readouterr().err
    assert lkdn_video(here, tmp_path / "b.mp4") == 0
    said = "few players read samples in mp4, some play noise; mov has: #1 audio pcm_s24le"
    assert said in capsys.readouterr().err
    with av.open(str(tmp_path / "b.mp4")) as result:
        assert result.streams.audio[0].codec_context.name == "pcm_s24le"


@pytest.mark.parametrize("line", ["none.mp4 b.mp4", "a.mp4 b.exe", "a.mp4 c.mp4 b.mp4"])
def test_refusals_do_not_wait_for_torch(here: Path, line: str) -> None:
    script = (
        "import sys; from lkdn_cli.video import main; code = main(sys.argv[1:]);"
        "print(code, 'torch' in sys.modules)"
    )
    words = [sys.executable, "-c", script, *line.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False", done.stderr
