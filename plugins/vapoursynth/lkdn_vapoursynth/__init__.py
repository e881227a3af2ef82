"""The Python side of ``core.lkdn``, the VapourSynth filter of the LKDN suite."""

from importlib.util import find_spec
from pathlib import Path

from lkdn_core.errors import LKDNError

__all__ = ["plugin_path"]


def plugin_path() -> Path:
    """The filter's library, which VapourSynth loads by itself from there.

    A VapourSynth that is not a package of this Python loads it with ``core.std.LoadPlugin``.
    Raises `LKDNError` where the filter was not built.
    """
    spec = find_spec("vapoursynth")
    if spec is None or spec.origin is None:
        raise LKDNError("core.lkdn is not here, as VapourSynth is not installed in this Python")
    folder = Path(spec.origin).parent / "plugins" / "lkdn"
    for file in sorted(folder.glob("lkdn.*")):
        if file.suffix in {".so", ".dll", ".dylib"}:
            return file
    raise LKDNError(
        "core.lkdn is not here, as no working C++ compiler was found when lkdn-suite was installed:"
        " install one (on Debian the package g++), then lkdn-suite once more, with pip's options"
        " --force-reinstall --no-deps --no-cache-dir"
    )
