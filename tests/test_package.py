"""The distribution: one version, a core without hosts, a wheel with what it should hold."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

import lkdn_core

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "lkdn_core": "lkdn_core",
    "lkdn_cli": "cli/lkdn_cli",
    "lkdn_media": "cli/lkdn_media",
    "lkdn_comfyui": "plugins/comfyui/lkdn_comfyui",
    "lkdn_vapoursynth": "plugins/vapoursynth/lkdn_vapoursynth",
}
#: Where VapourSynth looks for the filter by itself.
FILTER = "vapoursynth/plugins/lkdn/"

IMPORT_CORE = """
import importlib, pkgutil, sys
import lkdn_core
for module in pkgutil.iter_modules(lkdn_core.__path__, "lkdn_core."):
    if module.name != "lkdn_core.training":
        importlib.import_module(module.name)
print(*sys.modules)
"""


def python(code: str) -> set[str]:
    """The words that ``code`` prints, run by a fresh interpreter on this checkout."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.fixture
def installed() -> Distribution:
    try:
        return distribution("lkdn-suite")
    except PackageNotFoundError:
        pytest.skip("lkdn-suite is not installed here; ./bootstrap test does it")


def test_the_version_has_one_source(installed: Distribution) -> None:
    assert installed.version == lkdn_core.__version__


def test_every_command_starts_somewhere(installed: Distribution) -> None:
    scripts = installed.entry_points.select(group="console_scripts")
    assert {s.name for s in scripts} >= {"lkdn-video", "lkdn-models"}
    assert all(callable(script.load()) for script in scripts)


def test_the_core_imports_no_host() -> None:
    modules = python(IMPORT_CORE)
    assert {"lkdn_core.arch", "lkdn_core.engine", "torch"} <= modules
    tops = {name.partition(".")[0] for name in modules}
    assert not {t for t in tops if t in {"av", "vapoursynth"} or t.startswith("comfy")}
    assert "triton" not in tops  # it takes a while, and may not be there
    assert "lkdn_core.training" not in modules


def test_the_package_alone_does_not_import_torch() -> None:
    assert "torch" not in python("import sys, lkdn_core; print(*sys.modules)")


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"lkdn_suite-{lkdn_core.__version__}-py3-none-")
    names = zipfile.ZipFile(wheel).namelist()
    info = f"lkdn_suite-{lkdn_core.__version__}.dist-info"
    native = {n for n in names if n.startswith(FILTER)}
    kernels = {n for n in names if n.startswith("lkdn_core/lib/lkdn_native.")}
    if shutil.which("c++"):
        assert {Path(n).stem for n in native} == {"lkdn", "manifest"}
        assert len(kernels) == 1
    names = [n for n in names if n not in native | kernels]
    assert {n.partition("/")[0] for n in names} == {*PACKAGES, info}
    # Data files too: weights, their cards, tables.
    expected = {
        f"{package}/{path.relative_to(ROOT / source).as_posix()}"
        for package, source in PACKAGES.items()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    assert {n for n in names if not n.startswith(info)} == expected
    assert any(n.startswith("lkdn_core/weights/") and n.endswith(".safetensors") for n in names)
    assert any(n.startswith("lkdn_core/weights/") and n.endswith(".md") for n in names)
