"""Download published weights once: verified before use, atomic, cached per user."""

import hashlib
import logging
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO

from tqdm import tqdm

from lkdn_core.cache import cache_folder
from lkdn_core.errors import DownloadError
from lkdn_core.files import replacing

__all__ = ["cached_download", "find_cached"]

log = logging.getLogger(__name__)
CHUNK = 1 << 16
TIMEOUT_S = 30


def cached_download(url: str, *, sha256: str, size: int) -> Path:
    """The local copy of ``url``, downloaded at first use and checked against ``sha256`` each time.

    ``size`` is the file's length in bytes; not one more is read. Files lie in the user's cache
    folder, or in ``LKDN_CACHE``. ``LKDN_OFFLINE=1`` forbids the network. Raises ``DownloadError``;
    an interrupted or wrong download leaves nothing behind.
    """
    cached = find_cached(url, sha256=sha256)
    if cached is not None:
        return cached
    target = _target(url, sha256)
    folder = target.parent
    if os.environ.get("LKDN_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(
            f"LKDN_OFFLINE is set and {target.name} is not in {folder}: "
            f"download {url} and name it as the weights (--weights, in Python weights=)"
        )
    log.info("downloading %s", url)
    if folder.exists() and not folder.is_dir():
        raise DownloadError(f"{folder} is a file, and no folder to keep downloads in")
    try:
        with replacing(target) as part:
            _copy(url, part, size)
            part.flush()
            if _sha256(Path(part.name)) != sha256:
                raise DownloadError(f"{url} is not the published file: its SHA-256 is wrong")
    except DownloadError:
        raise
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DownloadError(f"{url} could not be downloaded: {reason}") from error
    return target


def find_cached(url: str, *, sha256: str) -> Path | None:
    """The local copy of ``url`` if there is a right one to read; the network is not asked."""
    try:
        target = _target(url, sha256)
        return target if _sha256(target) == sha256 else None
    except OSError:
        return None


def _target(url: str, sha256: str) -> Path:
    return cache_folder() / f"{sha256[:12]}-{url.rsplit('/', 1)[-1]}"


def _copy(url: str, target: IO[bytes], size: int) -> None:
    with (
        urllib.request.urlopen(url, timeout=TIMEOUT_S) as response,
        tqdm(total=size, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1]) as bar,
    ):
        left = size
        while left and (chunk := response.read(min(CHUNK, left))):
            target.write(chunk)
            left -= len(chunk)
            bar.update(len(chunk))
    if left:
        raise DownloadError(f"{url} ended {left} bytes early")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
