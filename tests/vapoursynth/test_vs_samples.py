"""The sample script and the lines of the plugin's README, run as they stand."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import vapoursynth as vs
from vs_clips import equal, noise, planes

ROOT = Path(__file__).parents[2]
README = (ROOT / "plugins/vapoursynth/README.md").read_text()
SCRIPT = ROOT / "samples/upscale.vpy"
LENGTH = 7

#: What the README's encoder does, for machines without it.
FFMPEG = """#!{python}
import sys, av
with av.open(sys.stdin.buffer, format="yuv4mpegpipe") as pipe, av.open(sys.argv[-1], "w") as out:
    source = pipe.streams.video[0]
    target = out.add_stream("libx264", rate=source.average_rate)
    target.width, target.height = source.width, source.height
    for frame in pipe.decode(source):
        out.mux(target.encode(frame))
    out.mux(target.encode(None))
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """in.mp4: 7 frames of 34x26, lossless, BT.709 in limited range."""
    file = tmp_path / "in.mp4"
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 34, 26, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = 1, 1
        for n in range(LENGTH):
            picture = av.VideoFrame(34, 26, "yuv420p")
            frame = noise(vs.YUV420P8, LENGTH).get_frame(n)
            for target, plane in zip(picture.planes, planes(frame), strict=True):
                rows = np.zeros((plane.shape[0], target.line_size), np.uint8)
                rows[:, : plane.shape[1]] = plane
                target.update(rows.tobytes())
            picture.pts = n
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file


def expected() -> list[list[np.ndarray]]:
    clip = noise(vs.YUV420P8, LENGTH, _Matrix=1, _Range=0).lkdn.Upscale(scale=2)
    return [planes(clip.get_frame(n)) for n in range(LENGTH)]


@pytest.mark.parametrize("source_plugin", [True, False], ids=["bestsource", "PyAV"])
def test_the_sample_enlarges_a_file(
    run: Any, vspipe: Path, video: Path, tmp_path: Path, source_plugin: bool
) -> None:
    script = SCRIPT
    if source_plugin and not hasattr(vs.core, "bs"):
        pytest.skip("vapoursynth-bestsource is not installed")
    if not source_plugin:
        for name in ("upscale.vpy", "pyav_source.py"):
            shutil.copy(SCRIPT.with_name(name), tmp_path)
        script = tmp_path / "upscale.vpy"
        script.write_text(script.read_text().replace('hasattr(core, "bs")', "False"))
    options = ["-c", "y4m", "-a", f"source={video}", "-a", "scale=2"]
    result = run(vspipe, *options, script, "-", timeout=60)
    assert result.returncode == 0, result.stderr.decode()
    with av.open(io.BytesIO(result.stdout), format="yuv4mpegpipe") as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    for frame, planes_expected in zip(frames, expected(), strict=True):
        assert equal([frame.ravel()], [np.concatenate([p.ravel() for p in planes_expected])])


def test_without_arguments_it_enlarges_the_sample_clip(
    environment: dict[str, str], vspipe: Path
) -> None:
    command = [vspipe, "--info", "samples/upscale.vpy"]
    result = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Width: 960\nHeight: 536\nFrames: 36\n" in result.stdout


def test_the_readme_s_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(code, {})


@pytest.mark.posix
def test_the_readme_s_pipe_into_an_encoder(
    environment: dict[str, str], vspipe: Path, video: Path, tmp_path: Path
) -> None:
    (line,) = re.findall(r"```sh\n(.*?)```", README, re.S)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    encoder = tmp_path / "bin" / "ffmpeg"
    encoder.parent.mkdir()
    if shutil.which("ffmpeg") is None:
        encoder.write_text(FFMPEG.format(python=sys.executable))
        encoder.chmod(0o755)
    path = os.pathsep.join([str(encoder.parent), str(vspipe.parent), environment["PATH"]])
    result = subprocess.run(
        ["sh", "-c", line],
        env=environment | {"PATH": path},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr.decode()
    with av.open(tmp_path / "out.mkv") as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(68, 52)] * LENGTH
