"""The whole error tree. A message names the argument, what is accepted and the value it got."""

import errno
import sys

__all__ = [
    "ArgumentError",
    "DownloadError",
    "FormatError",
    "LKDNError",
    "OutOfMemoryError",
    "WeightsError",
    "why_not_piped",
]


class LKDNError(Exception):
    """Base of every error this suite raises on purpose; its message is one line for people."""


class ArgumentError(LKDNError, ValueError):
    """An argument is outside what is accepted (the command line exits with 2)."""


class FormatError(LKDNError, ValueError):
    """A frame or picture format is unknown, contradictory or not supported."""


class WeightsError(LKDNError, ValueError):
    """A weights file is missing, damaged, or not an LKDN network."""


class DownloadError(LKDNError, OSError):
    """Published weights could not be downloaded or failed verification."""


class OutOfMemoryError(LKDNError, MemoryError):
    """The device has no room even for one frame in the smallest tile."""


def why_not_piped(error: OSError) -> str:
    """Why standard output took no more, in words to follow its name."""
    # An invalid argument is what Windows calls a pipe without a reader.
    if isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL
    ):
        return "its reader has closed it"
    return f"can't be written: {error.strerror}"
