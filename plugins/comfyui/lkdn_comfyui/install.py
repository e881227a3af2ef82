"""Put the node pack into a ComfyUI folder, and take it out again."""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from lkdn_core.errors import ArgumentError, LKDNError

__all__ = ["PACK", "Status", "install", "status", "uninstall"]

#: Name of the folder in ``custom_nodes``.
PACK: Final = "lkdn"
_PACKAGE: Final = Path(__file__).parent
_MARK: Final = "# Written by lkdn-comfyui install; lkdn-comfyui uninstall removes this folder."
_STUB: Final = f"""{_MARK}
from lkdn_comfyui import WEB_DIRECTORY, comfy_entrypoint

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
"""
#: ComfyUI looks for these in the folder of the pack only.
_COPIED: Final = ("example_workflows", "locales")


#: An old link leads to this package where it was before, as in another Python.
Installed = Literal["no", "copy", "link", "old link", "other"]


@dataclass(frozen=True, slots=True)
class Status:
    """What lies in a ComfyUI folder. ``version``: of ComfyUI, empty when it is not told."""

    pack: Path
    version: str
    installed: Installed


def status(comfyui: Path) -> Status:
    """Look, and change nothing. Raises ``ArgumentError`` where ``comfyui`` is no ComfyUI folder."""
    nodes = comfyui / "custom_nodes"
    if not nodes.is_dir():
        raise ArgumentError(
            f"comfyui: a ComfyUI folder, with custom_nodes in it, is accepted, got {comfyui}"
        )
    pack, version = nodes.resolve() / PACK, comfyui / "comfyui_version.py"
    # Somebody else's file: what is not text in it can't be the version.
    text = version.read_text("utf-8", "replace") if version.is_file() else ""
    found = re.search(r'__version__ = "(.+)"', text)
    return Status(pack, found[1] if found else "", _installed(pack))


def install(comfyui: Path, *, link: bool = False) -> Status:
    """Make the pack, anew if it is there.

    A small folder that imports this package, with copies of its workflows and translations; with
    ``link`` a symbolic link to this package. Nothing else is touched. Raises ``ArgumentError`` for
    a folder that is no ComfyUI or an old one, ``LKDNError`` where it can't be written.
    """
    before = status(comfyui)
    api = comfyui / "comfy_api"
    if api.is_dir() and not (api / "latest").is_dir():
        raise ArgumentError(
            f"comfyui: version 0.3.48 or later is accepted, got {before.version or 'an old one'}"
        )
    _check_ours(before)
    try:
        _place(before.pack, link=link)
    except OSError as error:
        raise LKDNError(f"{before.pack}: can't be written: {error.strerror or error}") from error
    return status(comfyui)


def uninstall(comfyui: Path) -> Status:
    """Remove the pack, if it is there; returns what was. Raises as `install` does."""
    before = status(comfyui)
    _check_ours(before)
    try:
        _remove(before.pack)
    except OSError as error:
        raise LKDNError(f"{before.pack}: can't be removed: {error.strerror}") from error
    return before


def _installed(pack: Path) -> Installed:
    if pack.is_symlink():
        # The other folder that a checkout offers for a link is the one above this package.
        with suppress(OSError, RuntimeError):  # of links in a circle
            if pack.resolve() in (_PACKAGE, _PACKAGE.parent):
                return "link"
        return "old link" if pack.readlink().name == _PACKAGE.name else "other"
    if not pack.exists():
        return "no"
    stub = pack / "__init__.py"
    ours = stub.is_file() and stub.read_bytes().startswith(_MARK.encode())
    return "copy" if ours else "other"


def _check_ours(before: Status) -> None:
    if before.installed == "other":
        raise LKDNError(f"{before.pack}: was not made by lkdn-comfyui; remove or rename it first")


def _place(pack: Path, *, link: bool) -> None:
    """Make the pack beside its place first, so that there is never half a one."""
    with tempfile.TemporaryDirectory(prefix=".lkdn-", dir=pack.parent) as folder:
        new = Path(folder) / PACK
        if link:
            new.symlink_to(_PACKAGE, target_is_directory=True)
        else:
            new.mkdir()
            (new / "__init__.py").write_text(_STUB)
            for name in _COPIED:
                shutil.copytree(_PACKAGE / name, new / name)
        _remove(pack)
        os.replace(new, pack)


def _remove(pack: Path) -> None:
    if pack.is_symlink():
        pack.unlink()
    elif pack.exists():
        shutil.rmtree(pack)
