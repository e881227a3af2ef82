"""What holds for every test: one thread a process, and nothing in the user's cache folder."""

import os
import signal
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

# Tests are small, and several run side by side. Before torch is imported, and for children too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where the tests run in the background of a shell, Ctrl-C is ignored, by all they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if sys.platform == "win32" and item.get_closest_marker("posix"):
        pytest.skip("needs signals, links, named pipes or limits as POSIX has them")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests() -> Iterator[None]:
    """Programs that tests start share it."""
    with TemporaryDirectory(prefix="lkdn-tests-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LKDN_CACHE", folder)
        yield
