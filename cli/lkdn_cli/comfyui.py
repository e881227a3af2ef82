"""``lkdn-comfyui``: the nodes into a ComfyUI folder, and out again."""

import argparse
import sys
from pathlib import Path

from lkdn_cli.console import FAILED, OK, Parser, run
from lkdn_core.errors import ArgumentError

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Install, remove or look; returns the exit code, for ``status`` 0 only when installed."""
    parser = Parser(
        prog="lkdn-comfyui",
        description="Make the LKDN nodes known to a ComfyUI. Install this suite with the Python "
        "that runs ComfyUI, and run this command from there. No package is touched.",
    )
    actions = ("install", "uninstall", "status")
    parser.add_argument("action", choices=actions, help="status: whether they are installed")
    parser.add_argument(
        "--comfyui",
        type=Path,
        default=Path(),
        metavar="PATH",
        help="the folder with custom_nodes in it (default: the current folder)",
    )
    parser.add_argument(
        "--link", action="store_true", help="install a symbolic link instead of a small copy"
    )
    return run(parser, _act, argv)


def _act(arguments: argparse.Namespace) -> int:
    from lkdn_comfyui.install import install, status, uninstall

    action, comfyui = arguments.action, arguments.comfyui
    if arguments.link and action != "install":
        raise ArgumentError(f"link: is accepted with install, got {action}")
    if action == "install":
        now = install(comfyui, link=arguments.link)
        print(f"installed: {now.pack} ({now.installed})")
        print(f"Restart ComfyUI; it must run with {sys.executable}")
        return OK
    if action == "uninstall":
        before = uninstall(comfyui)
        words = "was not there" if before.installed == "no" else "removed"
        print(f"{words}: {before.pack}")
        return OK
    now = status(comfyui)
    print(f"ComfyUI: {now.version or 'version not known'}")
    print(f"nodes: {now.installed}: {now.pack}")
    return OK if now.installed in ("copy", "link") else FAILED


if __name__ == "__main__":  # scripts of ComfyUI's Python are often not on the PATH
    sys.exit(main())
