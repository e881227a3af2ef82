"""What containers and encoders have a place for, of what pictures are beside their samples."""

from typing import Final

from lkdn_core.formats import ChromaLocation
from lkdn_media.formats import Layout, has_alpha
from lkdn_media.pipes import PIPE_FORMATS

__all__ = [
    "holds_alpha",
    "holds_full_range",
    "holds_limited_gray",
    "location_in",
    "matrix_in",
    "shape_in",
]

#: What carries the shape of pixels: containers, and encoders with it in their pictures.
_WITH_SHAPE: Final = ("mp4", "mov", "matroska", "webm", "yuv4mpegpipe")
_WRITES_PIXEL_SHAPE: Final = ("264", "265", "hevc", "mpeg4", "mpeg2video")
#: Where chroma lies in all pictures of some encoders, by parts of their names.
_LOCATED: Final[dict[str, ChromaLocation]] = {
    "mjpeg": "center",
    "mpeg1": "center",
    "mpeg2": "left",
    "mpeg4": "left",
}
#: H.264 and HEVC can tell where it lies in 4:2:0 only, y4m these places, with 8 bits.
_LOCATES_420_ONLY: Final = ("264", "265", "hevc")
_LOCATED_BY_Y4M: Final = ("left", "center", "topleft")
#: Matroska tells left or center, top or middle; the bottom is nearest to the middle.
_LOCATED_BY_MATROSKA: Final[dict[ChromaLocation, ChromaLocation]] = {
    "bottomleft": "left",
    "bottom": "center",
}
#: In the names of encoders whose pictures players take for limited range; those only MOV leaves so.
_LIMITED: Final = ("prores", "mpeg1video", "mpeg2video", "libvpx")
_LIMITED_IN_MOV: Final = frozenset(
    ("v210", "cfhd", "jpeg2000", "mpeg4", "h263", "magicyuv", "svq1", "tiff", "y41p", "yuv4")
)
#: The matrices of some encoders, whatever the container says, by parts of their names: VP9's have
#: a number in its pictures, and JPEG's (JFIF) and VP8's are BT.601. The first is for all others.
_MATRICES: Final[dict[str, tuple[str, ...]]] = {
    "vp9": ("bt709", "smpte170m", "bt470bg", "smpte240m", "bt2020nc"),
    "mjpeg": ("bt470bg", "smpte170m"),
    "libvpx": ("bt470bg", "smpte170m"),
}
#: Encoders whose gray is of full range wherever it goes, as parts of their names.
_FULL_GRAY: Final = ("png", "qtrle", "cinepak", "mjpeg", "snow")
#: Those that tell its range in their own pictures, as MOV does not.
_TELL_GRAY: Final = ("264", "265", "hevc", "av1")


def shape_in(container: str, codec: str) -> str | None:
    """Where the shape of pixels is written: ``"picture"``, ``"container"``, or nowhere."""
    if any(name in codec for name in _WRITES_PIXEL_SHAPE):
        return "picture"
    return "container" if container in _WITH_SHAPE else None


def holds_alpha(container: str, codec: str, pix_fmt: str) -> bool:
    """Whether pictures of ``pix_fmt`` by ``codec`` keep their alpha in ``container``."""
    # Beside the picture of VP8 and VP9 lies a second one, in blocks only Matroska has.
    beside = codec.startswith(("libvpx", "vp"))
    kept = container in ("matroska", "webm") if beside else codec != "dxv"
    return has_alpha(pix_fmt) and kept


def location_in(
    container: str, codec: str, layout: Layout, location: ChromaLocation
) -> ChromaLocation:
    """Where chroma will be taken to lie in pictures of ``layout``: if it can be, at ``location``.

    Without a place to say it, it is left.
    """
    fixed = next((place for name, place in _LOCATED.items() if name in codec), None)
    if fixed is not None:
        return fixed
    if any(name in codec for name in _LOCATES_420_ONLY):
        return location if layout.subsampling == (1, 1) else "left"
    if container == PIPE_FORMATS["y4m"]:
        sayable = layout.subsampling == (1, 1) and layout.bits == 8
        return location if sayable and location in _LOCATED_BY_Y4M else "left"
    if container in ("matroska", "webm"):
        return _LOCATED_BY_MATROSKA.get(location, location)
    return "topleft" if codec == "libsvtav1" and location == "topleft" else "left"


def holds_limited_gray(container: str, codec: str) -> bool:
    """Whether gray can be said to be of limited range."""
    if any(name in codec for name in _FULL_GRAY):
        return False
    return container != "mov" or any(name in codec for name in _TELL_GRAY)


def holds_full_range(container: str, codec: str) -> bool:
    """Whether YUV can be said to be of full range."""
    if container == "mov" and codec in _LIMITED_IN_MOV:
        return False
    return not any(name in codec for name in _LIMITED)


def matrix_in(codec: str, matrix: str) -> str:
    """The matrix that pictures by ``codec`` will be taken to have: if it can be, ``matrix``."""
    held = next((held for name, held in _MATRICES.items() if name in codec), None)
    return matrix if held is None or matrix in held else held[0]
