"""The C structures of native/python_bridge.h, and the types of its function table."""

import ctypes as c
from typing import Final

__all__ = [
    "ABI",
    "ABSENT",
    "CREATE",
    "DESCRIBE",
    "DESTROY",
    "PROCESS",
    "TEXT_SIZE",
    "UNREADABLE",
    "Bridge",
    "Clip",
    "Frame",
    "Job",
    "Plan",
]

#: Changes whenever something in this file does.
ABI: Final = 4
#: A tag the frame does not carry.
ABSENT: Final = -(2**31)
#: A tag that is no integer.
UNREADABLE: Final = ABSENT + 1
#: Bytes of a text, its zero among them. One for an error is empty once the call is done.
TEXT_SIZE: Final = 16384


class Frame(c.Structure):
    """Planes of one frame (address, bytes from row to row) and its tags as properties give them."""

    _fields_ = (
        ("plane", c.c_void_p * 3),
        ("stride", c.c_int64 * 3),
        ("matrix", c.c_int32),
        ("range", c.c_int32),
        ("chroma_location", c.c_int32),
        ("field_based", c.c_int32),
    )


class Clip(c.Structure):
    """The source clip; ``cache_bytes`` is what its core may keep in frames."""

    _fields_ = (
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("color_family", c.c_int32),
        ("sample_type", c.c_int32),
        ("bits", c.c_int32),
        ("subsampling_w", c.c_int32),
        ("subsampling_h", c.c_int32),
        ("num_frames", c.c_int32),
        ("cache_bytes", c.c_int64),
    )


class Plan(c.Structure):
    """How the clip is worked on: ``batch`` frames a block, ``kept_blocks`` blocks in the cache.

    ``session`` is what `Job` and the function ``destroy`` name the clip by.
    """

    _fields_ = (
        ("session", c.c_int32),
        ("scale", c.c_int32),
        ("batch", c.c_int32),
        ("streams", c.c_int32),
        ("kept_blocks", c.c_int32),
    )


class Job(c.Structure):
    """Frames ``first`` to ``first + count - 1`` of a clip, and their places when enlarged."""

    _fields_ = (
        ("session", c.c_int32),
        ("stream", c.c_int32),
        ("first", c.c_int32),
        ("count", c.c_int32),
        ("source", c.POINTER(Frame)),
        ("target", c.POINTER(Frame)),
    )


#: (json, clip, plan, error)
CREATE: Final = c.CFUNCTYPE(None, c.c_char_p, c.POINTER(Clip), c.POINTER(Plan), c.c_void_p)
#: (job, error)
PROCESS: Final = c.CFUNCTYPE(None, c.POINTER(Job), c.c_void_p)
#: (topic, text, error)
DESCRIBE: Final = c.CFUNCTYPE(None, c.c_int32, c.c_void_p, c.c_void_p)
#: (session, error)
DESTROY: Final = c.CFUNCTYPE(None, c.c_int32, c.c_void_p)


class Bridge(c.Structure):
    """The table itself, which lives in the plugin."""

    _fields_ = (
        ("abi", c.c_int32),
        ("alive", c.c_int32),
        ("active", c.c_int32),
        ("create", CREATE),
        ("process", PROCESS),
        ("describe", DESCRIBE),
        ("destroy", DESTROY),
    )
