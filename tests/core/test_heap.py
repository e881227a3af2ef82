"""What the C library does with freed memory while a run is at work."""

import platform
from contextlib import nullcontext

import pytest
import torch

from lkdn_core.training.heap import kept_heap

resource = pytest.importorskip("resource", reason="Windows has none")
GLIBC = platform.libc_ver()[0] == "glibc"


def fresh_pages() -> int:
    """Pages that this thread has to ask the system for, for 48 MiB after it gave 64 back."""
    torch.ones(2**24)
    before: int = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    torch.ones(3 * 2**22)
    after: int = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    return after - before


@pytest.mark.skipif(not GLIBC, reason="only glibc can be told to keep freed memory")
def test_freed_memory_stays_while_a_run_is_at_work_and_not_after_it() -> None:
    kept = {}
    for name, heap in (("before", nullcontext()), ("kept", kept_heap()), ("after", nullcontext())):
        with heap:
            kept[name] = fresh_pages()
    assert 2 * kept["kept"] < min(kept["before"], kept["after"])  # which are 24 at least, of 2 MiB


def test_an_error_inside_goes_on_outside() -> None:
    with pytest.raises(KeyError), kept_heap():
        raise KeyError
