"""`./bootstrap` on simulated machines: a PATH of stub interpreters, a home of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.posix
ROOT = Path(__file__).parents[1]
#: A real interpreter with a working venv, whatever environment pytest runs in.
REAL = f'exec "{sys.executable}" "$@"'
BROKEN = "echo 'command not found' >&2; exit 127"


class Machine:
    """A folder with ``bin`` (stubs), ``home`` and a copy of what ``bootstrap`` reads."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.home, self.checkout = folder / "bin", folder / "home", folder / "my clone"
        self.bin.mkdir()
        self.home.mkdir()
        folders = "native/cpu", "plugins/vapoursynth/native"
        native = [p.relative_to(ROOT) for f in folders for p in (ROOT / f).iterdir()]
        own = ("bootstrap", "pyproject.toml", "CMakeLists.txt", "lkdn_core/__init__.py")
        for name in (*own, *native):
            target = self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    def stub(self, name: str, body: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def tools(self, *names: str) -> None:
        """Put these system tools on PATH beside the stubs."""
        for name in names:
            found = shutil.which(name)
            assert found
            (self.bin / name).symlink_to(found)

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.home)} | env
        return subprocess.run(
            [self.checkout / "bootstrap", command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("command", ["python", "demo", "test"])
def test_without_a_python_one_sentence_says_what_to_install(machine: Machine, command: str) -> None:
    machine.stub("python3", "exit 1")  # too old
    machine.stub("python3.12", BROKEN)  # a shim
    machine.stub("python3.13", 'export PYTHONPATH="${0%/*}/no_venv"\n' + REAL)
    (machine.bin / "no_venv").mkdir()
    (machine.bin / "no_venv" / "ensurepip.py").write_text("raise ImportError")
    machine.stub("pyenv", BROKEN)
    machine.stub("uv", BROKEN)
    result = machine.run(command)
    assert result.returncode == 1
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("bootstrap: no Python 3.12 or newer")
    assert "install" in last
    assert not (machine.checkout / ".venv").exists()


def test_an_empty_machine_gets_only_that_sentence(machine: Machine) -> None:
    result = machine.run("demo")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["python3", "python3.12", "python3.13", "python3.14"])
def test_finds_an_interpreter_on_path(machine: Machine, name: str) -> None:
    machine.stub("python3", BROKEN)
    machine.stub(name, REAL)
    assert machine.run("python").stdout == f"{sys.executable}\n"


def test_finds_an_interpreter_of_pyenv(machine: Machine) -> None:
    machine.stub("python3", BROKEN)
    machine.stub("../home/.pyenv/versions/3.12.9/bin/python", BROKEN)
    machine.stub("../home/.pyenv/versions/3.13.0/bin/python", REAL)
    assert machine.run("python").stdout == f"{sys.executable}\n"


def test_asks_pyenv_where_its_versions_are(machine: Machine) -> None:
    machine.stub("pyenv", 'echo "${0%/*}/elsewhere"')
    machine.stub("elsewhere/versions/3.12.1/bin/python", REAL)
    assert machine.run("python").stdout == f"{sys.executable}\n"


def test_lets_uv_install_an_interpreter(machine: Machine) -> None:
    here = '"${0%/*}/from_uv"'
    find = f"[ -x {here} ] && echo {here}"
    install = f"echo Installed >&2; printf '#!/bin/sh\\n%s\\n' '{REAL}' > {here}; chmod +x {here}"
    machine.stub("uv", f'case "$2" in find) {find} ;; install) {install} ;; esac')
    machine.tools("chmod")
    result = machine.run("python")
    assert result.stdout == f"{sys.executable}\n"
    assert "Installed" in result.stderr


def fake_python(pip: str) -> str:
    """An interpreter whose ``-m venv --clear DIR`` copies itself and whose pip runs ``pip``."""
    return f"""
case "$*" in
"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip"*) echo "$@" >> "$HOME/pip.log"; {pip} ;;
*ensurepip*) echo "$0" ;;
esac"""


def test_a_failed_install_shows_its_error_and_is_tried_again(machine: Machine) -> None:
    machine.tools("mkdir", "cp", "cat", "cksum")
    machine.stub("python3", fake_python("echo 'ERROR: no route to index' >&2; exit 1"))
    for _ in range(2):
        result = machine.run("env")
        assert result.returncode == 1
        assert "ERROR: no route to index" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("bootstrap: pip could not install")
    assert len((machine.home / "pip.log").read_text().splitlines()) == 2


def test_installs_again_only_when_something_changed(machine: Machine) -> None:
    machine.tools("mkdir", "cp", "cat", "cksum")
    machine.stub("python3", fake_python("exit 0"))

    def installs() -> int:
        result = machine.run("env")
        assert result.returncode == 0, result.stderr
        return len((machine.home / "pip.log").read_text().splitlines())

    assert [installs(), installs()] == [1, 1]
    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# edited\n")
    assert [installs(), installs()] == [2, 2]
    with (machine.checkout / "plugins/vapoursynth/native/filter.cpp").open("a") as file:
        file.write("// edited\n")
    assert [installs(), installs()] == [3, 3]
    machine.checkout = machine.checkout.rename(machine.home / "moved")
    assert [installs(), installs()] == [4, 4]


def test_pip_does_not_install_for_the_user(machine: Machine) -> None:
    machine.tools("mkdir", "cp", "cat", "cksum")
    machine.stub("python3", fake_python('[ "$PIP_USER" = 0 ]'))
    assert machine.run("env", PIP_USER="1").returncode == 0
    (machine.checkout / ".venv" / "installed[dev]").unlink()
    assert machine.run("env").returncode == 0  # pip.conf may say so too


def test_an_unknown_command_shows_the_usage(machine: Machine) -> None:
    result = machine.run("upscale")
    assert result.returncode == 1
    assert result.stderr == "bootstrap: usage: ./bootstrap demo | test | env | python\n"
