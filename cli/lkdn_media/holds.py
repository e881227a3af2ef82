"""What containers and encoders have a place for, of what pictures are beside their samples."""

from typing import Final

from lkdn_media.formats import Layout, has_alpha
from lkdn_media.pipes import PIPE_FORMATS

__all__ = ["holds_alpha", "holds_location", "shape_in"]

#: What carries the shape of pixels: containers, and encoders with it in their pictures.
_WITH_SHAPE: Final = ("mp4", "mov", "matroska", "webm", "yuv4mpegpipe")
_WRITES_PIXEL_SHAPE: Final = ("264", "265", "hevc", "mpeg4", "mpeg2video")
#: H.264 and HEVC can tell where chroma lies in 4:2:0 only, y4m these places, with 8 bits.
_LOCATES_420_ONLY: Final = ("264", "265", "hevc")
_LOCATED_BY_Y4M: Final = ("left", "center", "topleft")


def shape_in(container: str, codec: str) -> str | None:
    """Where the shape of pixels is written: ``"picture"``, ``"container"``, or nowhere."""
    if any(name in codec for name in _WRITES_PIXEL_SHAPE):
        return "picture"
    return "container" if container in _WITH_SHAPE else None


def holds_alpha(container: str, codec: str, pix_fmt: str) -> bool:
    """Whether pictures of ``pix_fmt`` by ``codec`` keep their alpha in ``container``."""
    # Beside the picture of VP8 and VP9 lies a second one, in blocks only Matroska has.
    beside = codec.startswith(("libvpx", "vp"))
    return has_alpha(pix_fmt) and (not beside or container in ("matroska", "webm"))


def holds_location(container: str, codec: str, layout: Layout, location: str | None) -> bool:
    """Whether there is a place to say where chroma lies; without one it is taken for left."""
    if container == PIPE_FORMATS["y4m"]:
        sayable = layout.subsampling == (1, 1) and layout.bits == 8
        return sayable and location in _LOCATED_BY_Y4M
    return layout.subsampling == (1, 1) or not any(name in codec for name in _LOCATES_420_ONLY)
