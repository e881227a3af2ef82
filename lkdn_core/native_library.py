"""The library of our C++ CPU kernels (``native/cpu``), where it was compiled during the install."""

import ctypes as c
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

__all__ = ["instruction_sets", "library_file", "native_library"]

#: Changes with what ``native/cpu/api.cpp`` says about it.
_ABI: Final = 10
_NAMES: Final = ("lkdn_native.so", "lkdn_native.dylib", "lkdn_native.dll")


@cache
def library_file() -> Path | None:
    """In ``lib`` beside this file, or where the install put it when this file stayed elsewhere."""
    folders = [Path(__file__).parent / "lib"]
    try:
        installed = distribution("lkdn-suite").locate_file("lkdn_core/lib")
        folders.append(Path(str(installed)))
    except PackageNotFoundError:
        pass
    files = (folder / name for folder in folders for name in _NAMES)
    return next((file for file in files if file.is_file()), None)


@cache
def native_library() -> c.CDLL | None:
    """The library; ``None`` where there is none, or one of another version or platform."""
    file = library_file()
    if file is None:
        return None
    try:
        library = c.CDLL(str(file))
        if library.lkdn_abi() != _ABI:
            return None
    except (OSError, AttributeError):
        return None
    library.lkdn_instructions.argtypes, library.lkdn_instructions.restype = (c.c_int,), c.c_char_p
    return library


@cache
def instruction_sets() -> tuple[str, ...]:
    """What this processor has of the library's instruction sets, the best first."""
    library, names = native_library(), list[str]()
    while library is not None and (name := library.lkdn_instructions(len(names))):
        names.append(name.decode())
    return tuple(names)
