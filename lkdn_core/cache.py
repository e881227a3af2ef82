"""The folder where files are kept between runs."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from lkdn_core.errors import DownloadError

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``LKDN_CACHE``, or the user's cache folder. Raises ``DownloadError`` without either."""
    try:
        return Path(os.environ.get("LKDN_CACHE") or user_cache_path("lkdn"))
    except RuntimeError as error:
        raise DownloadError("no home directory to keep files in: set LKDN_CACHE") from error
