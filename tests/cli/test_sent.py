"""``-f mkv -``: a whole file into a pipe, for a player or another program."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, colour, copies, file_tags, frames, times

FULL = Clip(
    sar=Fraction(16, 15),
    pts=(0, 2, 3, 5, 6, 9, 10),
    audio=[{"language": "ger", "title": "T"}, {}],
    subtitles="ass",
    attachment=b"font" * 9000,
    cover=True,
    chapters=[(0, 100, "A"), (100, 400, "B")],
    metadata={"title": "Film", "comment": "c" * 300},
)


@pytest.mark.parametrize("codec", ["libx264 --crf 0", "ffv1"])  # the latter can't tell the shape
def test_a_pipe_gets_what_a_file_gets(
    tmp_path: Path, lkdn_video: Command, capfdbinary: pytest.CaptureFixture[bytes], codec: str
) -> None:
    """Without loss, as x264 does not always choose the same one."""
    options = ("--codec", *codec.split(), "-q")
    here, sent, kept = (tmp_path / f"{name}.mkv" for name in ("a", "sent", "kept"))
    make_clip(here, FULL)
    assert lkdn_video(here, Path("-"), "-f", "mkv", *options) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    sent.write_bytes(out)
    assert lkdn_video(here, kept, *options) == 0
    assert [asdict(copy) for copy in copies(sent)] == [asdict(copy) for copy in copies(kept)]
    assert times(sent) == times(kept)
    assert file_tags(sent) == file_tags(kept)
    # The checks of the sums over Matroska's elements are on.
    with av.open(str(sent), options={"err_detect": "crccheck+explode"}) as new:
        with av.open(str(kept)) as old:
            assert new.chapters() == old.chapters() != []
        assert new.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
        assert "stereo_mode" not in new.streams.video[0].metadata
    for one, other in zip(frames(sent), frames(kept), strict=True):
        assert (one.to_ndarray() == other.to_ndarray()).all()
        assert colour(one) == colour(other)


@pytest.mark.slow
def test_it_can_be_watched_while_it_is_made(tmp_path: Path, nearest: dict[int, Path]) -> None:
    """By then the rest would not fit into the pipe."""
    here = make_clip(tmp_path / "a.mkv", replace(FULL, size=(160, 120), pts=range(100)))
    code = "import sys; from lkdn_cli.video import main; sys.exit(main(sys.argv[1:]))"
    weights = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
    command = [sys.executable, "-c", code, str(here), "-", "-q", "-f", "mkv", "--codec", "ffv1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command + weights, env=environment, stdout=subprocess.PIPE) as process:
        with av.open(process.stdout, format="matroska") as film:
            shown = film.decode(video=0)
            assert next(shown).pts == 0
            assert process.poll() is None
            assert sum(1 for _ in shown) == 99
        assert process.wait(timeout=60) == 0


def test_settings_of_encoders_go_with_it(
    tmp_path: Path, lkdn_video: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    here = make_clip(tmp_path / "a.mp4", Clip())
    options = ("-f", "mkv", "--codec", "libx265", "--crf", "30", "--dry-run")
    assert lkdn_video(here, Path("-"), *options) == 0
    assert "libx265 68x52 yuv420p" in capfd.readouterr().out
