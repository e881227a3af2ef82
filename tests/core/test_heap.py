"""What the C library does with freed memory while a run is at work."""

import platform
import subprocess
import sys

import pytest

from lkdn_core.training.heap import kept_heap

#: In a process of its own, whose heap has no holes of other tests.
SCRIPT = """
import resource
from contextlib import nullcontext

import torch

from lkdn_core.training.heap import kept_heap

torch.set_num_threads(1)


def fresh_pages():
    # What 48 MiB have to ask the system for, after 64 were given back.
    torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(3 * 2**22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


for heap in (nullcontext(), kept_heap(), nullcontext()):
    with heap:
        print(fresh_pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_stays_while_a_run_is_at_work_and_not_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    before, kept, after = map(int, done.stdout.split())
    assert 2 * kept < min(before, after)  # which are 24 at least, of 2 MiB


def test_an_error_inside_goes_on_outside() -> None:
    with pytest.raises(KeyError), kept_heap():
        raise KeyError
