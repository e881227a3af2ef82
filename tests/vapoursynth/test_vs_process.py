"""How processes end with requests in flight, and hosts that are no Python."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import vapoursynth as vs

SCRIPTS = Path(__file__).with_name("scripts")
FOLDER = Path(vs.__file__).parent
GCC = shutil.which("gcc")
SCRIPT = """
import vapoursynth as vs
blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=34, height=26, length=1)
clip = vs.core.std.Splice([blank.std.BlankClip(color=[n % 250, 99, 99]) for n in range(99)])
clip.lkdn.Upscale(scale=2, batch=4).set_output()
"""


@pytest.mark.parametrize(
    ("way", "code", "last_line"),
    [
        ("exit", 3, b""),
        ("raise", 1, b"SystemError: boom"),
        ("os._exit", 4, b""),
        ("end", 0, b""),
        pytest.param("Ctrl-C", -signal.SIGINT, b"KeyboardInterrupt", marks=pytest.mark.posix),
    ],
)
def test_leaving_with_requests_in_flight(run: Any, way: str, code: int, last_line: bytes) -> None:
    result = run(sys.executable, SCRIPTS / "leaving.py", way, timeout=60)
    assert result.returncode == code, result.stderr.decode()
    assert result.stdout == b""
    assert last_line in result.stderr


@pytest.mark.posix
def test_ctrl_c_while_a_clip_is_made(run: Any) -> None:
    """It ends the script, wherever it is noticed: in a call of ours or between two."""
    result = run(sys.executable, SCRIPTS / "leaving.py", "Ctrl-C in create", timeout=60)
    last_line = result.stderr.splitlines()[-1]
    assert (result.returncode, last_line) in {
        (1, b"vapoursynth.Error: Upscale: interrupted"),
        (-signal.SIGINT, b"KeyboardInterrupt"),
    }


@pytest.mark.parametrize("script", ["early_interrupt.py", "no_thread.py"])
def test_what_comes_at_a_bad_moment(run: Any, script: str) -> None:
    result = run(sys.executable, SCRIPTS / script)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.posix
def test_ctrl_c_ends_vspipe(environment: dict[str, str], vspipe: Path, tmp_path: Path) -> None:
    script = tmp_path / "long.vpy"
    script.write_text(
        SCRIPT.replace("width=34, height=26", "width=160, height=90").replace("99)", "2000)")
    )
    command = [vspipe, "-c", "y4m", script, "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"YUV4MPEG2"
        process.stdout.read(200_000)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()
    # vspipe either ends by itself with an error or by the signal; it never crashes or hangs.
    assert process.returncode in {1, 2, 130, -signal.SIGINT}, time.monotonic() - started


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GCC is None or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")
    program = tmp_path_factory.mktemp("host") / "host"
    source = SCRIPTS / "host.c"
    subprocess.run([GCC, "-o", program, source, "-ldl", f"-I{vs.get_include()}"], check=True)
    return program


def test_a_host_that_makes_scripts_anew(run: Any, host: Path, tmp_path: Path) -> None:
    (tmp_path / "player.vpy").write_text(SCRIPT)
    result = run(host, vs.get_vsscript(), tmp_path / "player.vpy", timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == b"68x52\n" * 6


def test_a_host_without_python_is_told_so(run: Any, host: Path) -> None:
    result = run(host, FOLDER / "libvapoursynth.so.4", timeout=60)
    need = b"a running Python 3.12 or newer is needed in this process"
    first, second = result.stdout.splitlines()
    assert first.startswith(need)
    assert second.startswith(b"Upscale: " + need)
    assert result.returncode == 0
