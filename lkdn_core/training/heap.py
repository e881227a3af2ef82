"""The C library's heap, while steps take and give back the same memory again and again."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_heap"]

#: Parameters of glibc's ``mallopt``, and what they are by default.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def kept_heap() -> Iterator[None]:
    """Have glibc keep what is freed, in the whole process; with another library nothing changes.

    It gives large maps back to the system, and a step would pay for fresh pages each time.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (library and hasattr(library, "mallopt")):  # musl has none
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        for parameter, value in _DEFAULTS.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)
