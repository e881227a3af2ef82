"""Wheels: with the filter where it can be built, and all the rest where it can't."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = "vapoursynth/plugins/lkdn/"

pytestmark = pytest.mark.slow


def wheel(target: Path, **environment: str) -> set[str]:
    """The files of a wheel built in an environment like this one, but for ``environment``."""
    for tool in ("scikit_build_core", "vapoursynth"):
        pytest.importorskip(tool)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(target)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        env=os.environ | environment,
        check=True,
        timeout=300,
    )
    (file,) = target.glob("*.whl")
    assert "-py3-none-" in file.name  # any Python, this platform
    return set(zipfile.ZipFile(file).namelist())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH with what builds use, but no compiler."""
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("needs cmake and ninja")
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cmake", "ninja"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def test_a_wheel_holds_the_filter(tmp_path: Path) -> None:
    names = wheel(tmp_path)
    library = {n for n in names if n.startswith(f"{FOLDER}lkdn.")}
    assert len(library) == 1
    assert {n for n in names if n.startswith("vapoursynth/")} == {f"{FOLDER}manifest.vs", *library}


def test_without_a_compiler_everything_else_is_installed(path: Path, tmp_path: Path) -> None:
    names = wheel(tmp_path / "wheel", PATH=str(path))
    assert "lkdn_vapoursynth/bridge.py" in names
    assert not [n for n in names if n.startswith("vapoursynth/")]


def test_a_broken_compiler_is_no_compiler(path: Path, tmp_path: Path) -> None:
    compiler = path / "c++"
    compiler.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    compiler.chmod(0o755)
    names = wheel(tmp_path / "wheel", CXX=str(compiler))
    assert "lkdn_vapoursynth/bridge.py" in names
    assert not [n for n in names if n.startswith("vapoursynth/")]
