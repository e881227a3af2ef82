"""``lkdn-comfyui`` in folders that look like ComfyUI."""

import contextlib
import errno
import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import lkdn_comfyui
import lkdn_core
from lkdn_cli.comfyui import main

PACKAGE = Path(lkdn_comfyui.__file__).parent
FOLDER = Path(__file__).parents[2] / "plugins" / "comfyui"
NODES = ("LKDNModelLoader", "LKDNUpscaleImage", "LKDNUpscaleVideo")


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A folder with what the command looks at."""
    folder = tmp_path / "ComfyUI"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "comfy_api" / "latest").mkdir(parents=True)
    (folder / "comfyui_version.py").write_text('__version__ = "0.29.0"\n')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under ``folder``."""
    files = (f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def test_install_twice_and_uninstall_twice(
    comfyui: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, where = contents(comfyui), ["--comfyui", str(comfyui)]
    assert main(["status", *where]) == 1
    assert main(["install", *where]) == 0
    first = contents(comfyui)
    assert main(["install", *where]) == 0 and contents(comfyui) == first
    pack = comfyui / "custom_nodes" / "lkdn"
    assert sorted(p.name for p in pack.parent.iterdir()) == ["lkdn"]
    assert {p.name for p in pack.iterdir()} == {"__init__.py", "example_workflows", "locales"}
    capsys.readouterr()
    assert main(["status", *where]) == 0
    assert "0.29.0" in (out := capsys.readouterr().out) and "copy" in out
    for _ in range(2):
        assert main(["uninstall", *where]) == 0 and contents(comfyui) == before


@pytest.mark.posix
def test_link_replaces_copy_and_the_other_way(comfyui: Path) -> None:
    pack, where = comfyui / "custom_nodes" / "lkdn", ["--comfyui", str(comfyui)]
    assert main(["install", *where]) == 0 and not pack.is_symlink()
    assert main(["install", "--link", *where]) == 0 and pack.resolve() == PACKAGE
    assert main(["status", *where]) == 0
    assert main(["install", *where]) == 0 and not pack.is_symlink()
    assert main(["install", "--link", *where]) == 0
    assert main(["uninstall", *where]) == 0
    assert not pack.exists() and (PACKAGE / "nodes.py").is_file()


@pytest.mark.posix
def test_a_link_into_a_python_that_is_gone_is_ours(comfyui: Path) -> None:
    pack, where = comfyui / "custom_nodes" / "lkdn", ["--comfyui", str(comfyui)]
    for renew in (["install", "--link"], ["install"], ["uninstall"]):
        pack.symlink_to("/old/lib/python3.12/site-packages/lkdn_comfyui")
        assert main(["status", *where]) == 1
        assert main([*renew, *where]) == 0
        assert main(["status", *where]) == (1 if renew == ["uninstall"] else 0)
        assert main(["uninstall", *where]) == 0 and not pack.is_symlink()


@pytest.mark.posix
def test_links_in_a_circle_are_somebody_elses(
    comfyui: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, where = comfyui / "custom_nodes" / "lkdn", ["--comfyui", str(comfyui)]
    pack.symlink_to("lkdn")
    for command in ("install", "uninstall"):
        assert main([command, *where]) == 1
        assert "lkdn: was not made by lkdn-comfyui" in capsys.readouterr().err
    assert pack.is_symlink()


@pytest.mark.posix
def test_a_full_disk_is_told(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*names: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    before = contents(comfyui)
    assert main(["install", "--comfyui", str(comfyui)]) == 1
    assert "No space left on device" in capsys.readouterr().err and contents(comfyui) == before


def test_what_others_made_is_left_alone(comfyui: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack, where = comfyui / "custom_nodes" / "lkdn", ["--comfyui", str(comfyui)]
    pack.mkdir()
    (pack / "__init__.py").write_bytes(b"NODE_CLASS_MAPPINGS = {}\n")
    for action in ("install", "uninstall"):
        assert main([action, *where]) == 1
        assert "was not made by lkdn-comfyui" in capsys.readouterr().err
    assert contents(pack) == {"__init__.py": b"NODE_CLASS_MAPPINGS = {}\n"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["install", "--comfyui", "nowhere"], "comfyui: "),
        (["install"], "custom_nodes"),
        (["remove"], "install"),
        (["status", "--link"], "link: "),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(tmp_path):
        assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_an_old_comfyui_is_refused(comfyui: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (comfyui / "comfy_api" / "latest").rmdir()
    assert main(["install", "--comfyui", str(comfyui)]) == 2
    assert "0.3.48" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [PACKAGE, FOLDER])
def test_both_folders_are_packs(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"pack_{folder.name}", folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.comfy_entrypoint)
    web = Path(module.WEB_DIRECTORY)
    for node in NODES:
        assert (web / "docs" / node / "en.md").is_file()
        assert (web / "docs" / node / "zh.md").is_file()
    assert {p.name for p in (folder / "locales").iterdir()} == {"en", "zh"}
    assert len(list((folder / "example_workflows").glob("*.json"))) == 2


def test_the_checkout_is_a_pack_beside_the_rest_of_an_uninstalled_suite(tmp_path: Path) -> None:
    if (Path(sysconfig.get_path("purelib")) / "lkdn_comfyui").exists():
        pytest.skip("an installed suite, but for an editable one, comes first")
    for name in ("lkdn_core", "lkdn_media"):
        (tmp_path / name).mkdir()
    pack = tmp_path / "custom_nodes" / "lkdn"
    pack.parent.mkdir()
    pack.symlink_to(FOLDER)
    ours = [str(path) for path in (FOLDER, FOLDER.parents[1], FOLDER.parents[1] / "cli")]
    code = (
        "import runpy, sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f)]\n"
        f"sys.path = [p for p in sys.path if p and p not in {ours}]\n"
        f"pack = runpy.run_path({str(pack / '__init__.py')!r})\n"
        "from lkdn_core import Upscaler; from lkdn_comfyui import video\n"
        "print(pack['WEB_DIRECTORY'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert Path(run.stdout.strip()) == PACKAGE / "web"


def test_translations_name_the_same_things() -> None:
    texts = [
        json.loads((PACKAGE / "locales" / language / "nodeDefs.json").read_text("utf-8"))
        for language in ("en", "zh")
    ]
    assert tuple(texts[0]) == NODES
    assert names(texts[0]) == names(texts[1])


def names(tree: object) -> object:
    """The keys of nested dictionaries."""
    return {k: names(v) for k, v in tree.items()} if isinstance(tree, dict) else None


def test_the_registry_gets_the_version_of_the_suite() -> None:
    about = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert about["project"]["version"] == lkdn_core.__version__
    assert about["project"]["dependencies"] == ["lkdn-suite"]


@pytest.mark.posix
def test_the_registry_gets_what_lies_behind_links() -> None:
    """Its packer stores a link to a folder as an empty folder, unless the folder is named."""
    about = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    links = {path.name for path in FOLDER.iterdir() if path.is_symlink()}
    assert set(about["tool"]["comfy"]["includes"]) == links


def test_no_file_of_the_pack_asks_for_torch() -> None:
    assert not (FOLDER.parents[1] / "install.py").exists()
    assert not (FOLDER / "install.py").exists()
    for file in FOLDER.parents[1].glob("**/requirements*.txt"):
        if not {".venv", "node_modules"} & set(file.parts):
            assert "torch" not in file.read_text(), file
