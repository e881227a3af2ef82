"""Nothing the tests measure or download reaches the user's cache folder."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests() -> Iterator[None]:
    """Programs that tests start share it."""
    with TemporaryDirectory(prefix="lkdn-tests-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LKDN_CACHE", folder)
        yield
