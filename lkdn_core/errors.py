"""The whole error tree. A message names the argument, what is accepted and the value it got."""

__all__ = [
    "ArgumentError",
    "DownloadError",
    "FormatError",
    "LKDNError",
    "OutOfMemoryError",
    "WeightsError",
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
