"""FFmpeg's pixel formats and colour tags <-> the core's ``FrameFormat``.

Only planar little-endian layouts meet the core. What a decoder gives in another layout (packed,
semi-planar, palette, big-endian) is unpacked by libswscale first, which only moves samples about.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import av
from av.codec.codec import PixFmtLoss, find_best_pix_fmt_of_list

from lkdn_core.errors import FormatError
from lkdn_core.formats import CHROMA_LOCATIONS, MATRICES, Family, FrameFormat

__all__ = [
    "PLANAR",
    "UNTAGGED",
    "ColourTags",
    "Layout",
    "exact_layout",
    "frame_format",
    "has_alpha",
    "nearest_planar",
    "repacked",
    "without_alpha",
]

UNTAGGED: Final = 2  # primaries, transfer and matrix; range and chroma location use 0
_RANGES: Final = {"limited": 1, "full": 2}
_LOCATIONS: Final[dict[str | None, int]] = {
    name: code + 1 for code, name in CHROMA_LOCATIONS.items()
}
_MATRIX_CODES: Final = {name: code for code, name in MATRICES.items()}
#: Primaries and transfer written for pictures that came without, so that a player's guess, which
#: goes by the size, does not change with the size (H.273 tables 2 and 3).
_USUAL: Final = {"bt709": (1, 1), "smpte170m": (6, 6), "bt470bg": (5, 6), "smpte240m": (7, 7)}
_TRIAL_SIZE: Final = (16, 16)
_SRGB: Final = (1, 13)
#: In the names of decoders whose gray is of limited range where nothing is said.
_LIMITED_GRAY: Final = ("264", "hevc", "vvc", "av1", "vp9", "mpeg", "snow")
_PAL_HEIGHTS: Final = (288, 576)
_SUBSAMPLINGS: Final = {
    "420": (1, 1),
    "422": (1, 0),
    "444": (0, 0),
    "440": (0, 1),
    "411": (2, 0),
    "410": (2, 2),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples of a planar format lie in memory."""

    family: Family
    bits: int
    subsampling: tuple[int, int] = (0, 0)
    alpha: bool = False


def _planar() -> dict[str, Layout]:
    layouts = {}
    for bits in (8, 9, 10, 12, 14, 16):
        depth = "" if bits == 8 else f"{bits}le"
        for name, subsampling in _SUBSAMPLINGS.items():
            layouts[f"yuv{name}p{depth}"] = Layout("yuv", bits, subsampling)
        layouts[f"gbrp{depth}"] = Layout("rgb", bits)
        layouts[f"gray{depth}"] = Layout("gray", bits)
    for name, layout in list(layouts.items()):
        layouts.setdefault(_with_alpha(name), replace(layout, alpha=True))
    return {name: layout for name, layout in layouts.items() if name in av.video.format.names}


def _with_alpha(pix_fmt: str) -> str:
    """What the planar ``pix_fmt`` is called with alpha; FFmpeg doesn't have all of them."""
    gray = {"gray": "ya8", "gray16le": "ya16le"}  # two samples side by side
    return gray.get(pix_fmt, pix_fmt.replace("yuv", "yuva").replace("gbrp", "gbrap"))


#: Pixel formats whose planes the core takes as they are, alpha apart.
PLANAR: Final = _planar()


@dataclass(frozen=True, slots=True)
class ColourTags:
    """Colour tags as FFmpeg numbers them (H.273 code points; range and location one higher)."""

    primaries: int = UNTAGGED
    transfer: int = UNTAGGED
    matrix: int = UNTAGGED
    color_range: int = 0
    chroma_location: int = 0

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "ColourTags":
        """The tags of a decoded frame; ``yuvj`` formats mean full range where no tag says other."""
        full = frame.format.name.startswith("yuvj") and frame.color_range != _RANGES["limited"]
        return cls(
            frame.color_primaries,
            frame.color_trc,
            frame.colorspace,
            _RANGES["full"] if full else frame.color_range,
            frame.chroma_location,
        )

    def filled(self, before: "ColourTags") -> "ColourTags":
        """These tags, as ``before`` where they say nothing.

        Chroma lies where it did: some pictures only tell that.
        """
        return ColourTags(
            before.primaries if self.primaries == UNTAGGED else self.primaries,
            before.transfer if self.transfer == UNTAGGED else self.transfer,
            before.matrix if self.matrix == UNTAGGED else self.matrix,
            self.color_range or before.color_range,
            before.chroma_location,
        )

    @property
    def light(self) -> tuple[int, int]:
        """What tells which light the samples mean, once they are RGB: primaries and transfer."""
        return self.primaries, self.transfer

    def of_coding(self, decoder: str, container: str, family: Family) -> "ColourTags":
        """These tags, with what the coding means where nothing is said.

        Gray is of full range, as libswscale takes it, but in codings and containers of video; so is
        YCbCr in TIFF, by ITU-R BT.601 (TIFF 6.0, section 21).
        """
        tags = replace(self, transfer=UNTAGGED) if decoder == "tiff" else self  # FFmpeg's guess
        if family == "yuv" and decoder == "tiff":
            matrix = _MATRIX_CODES["bt470bg"] if tags.matrix == UNTAGGED else tags.matrix
            return replace(tags, matrix=matrix, color_range=tags.color_range or _RANGES["full"])
        video = container == "yuv4mpegpipe" or any(name in decoder for name in _LIMITED_GRAY)
        if family == "gray" and not tags.color_range and not video:
            return replace(tags, color_range=_RANGES["full"])
        return tags

    def completed(self, source: FrameFormat, target: FrameFormat, *, height: int) -> "ColourTags":
        """These tags of ``source`` with the gaps filled, for pictures written in ``target``.

        Both formats are resolved. A tag that is there is never changed, except a matrix that is not
        ``target``'s. ``height``: of the source; tells the two BT.601 apart.
        """
        matrix = self.matrix
        if MATRICES.get(matrix) != (target.matrix or "gbr"):
            matrix = _MATRIX_CODES[target.matrix or "gbr"]
        usual = _USUAL.get(MATRICES[matrix], (UNTAGGED, UNTAGGED))
        if source.family == "rgb":
            usual = _SRGB
        elif MATRICES[matrix] == "smpte170m" and height in _PAL_HEIGHTS:
            usual = _USUAL["bt470bg"]
        return ColourTags(
            primaries=usual[0] if self.primaries == UNTAGGED else self.primaries,
            transfer=usual[1] if self.transfer == UNTAGGED else self.transfer,
            matrix=matrix,
            color_range=_RANGES[target.color_range or "limited"],
            chroma_location=_LOCATIONS.get(target.chroma_location, 0),
        )


def frame_format(pix_fmt: str, tags: ColourTags) -> FrameFormat:
    """The format of pictures in ``pix_fmt`` (one of `PLANAR`) tagged ``tags``.

    Raises ``FormatError`` for a matrix the core does not know.
    """
    layout = PLANAR[pix_fmt]
    matrix = MATRICES.get(tags.matrix)
    if layout.family == "rgb" or matrix == "gbr":
        matrix = None
    located = layout.subsampling != (0, 0)
    return FrameFormat(
        family=layout.family,
        bits=layout.bits,
        subsampling=layout.subsampling,
        matrix=matrix,
        color_range={1: "limited", 2: "full"}.get(tags.color_range),  # type: ignore[arg-type]
        chroma_location=CHROMA_LOCATIONS.get(tags.chroma_location - 1) if located else None,
    )


@cache
def nearest_planar(pix_fmt: str) -> str:
    """The member of `PLANAR` that holds all samples of ``pix_fmt``.

    Raises ``FormatError`` where there is none (Bayer, XYZ, float), or libswscale can't read it
    (4 bits a pixel; packed big-endian ones of 10 and 12 bits).
    """
    if pix_fmt.startswith("yuvj"):
        pix_fmt = pix_fmt.replace("yuvj", "yuv")
    if pix_fmt in PLANAR:
        return pix_fmt
    if re.search("f(16|32)|bayer", pix_fmt):
        raise FormatError(f"pixel format {pix_fmt} is not supported")
    opaque = [name for name, layout in PLANAR.items() if not layout.alpha]
    best, loss = find_best_pix_fmt_of_list(opaque, pix_fmt)
    lossy = PixFmtLoss.DEPTH | PixFmtLoss.COLORSPACE | PixFmtLoss.CHROMA | PixFmtLoss.RESOLUTION
    if best is None or loss & lossy or not _can_repack(pix_fmt, best.name):
        raise FormatError(f"pixel format {pix_fmt} is not supported")
    transparent = _with_alpha(best.name)
    return transparent if has_alpha(pix_fmt) and transparent in PLANAR else best.name


def _can_repack(pix_fmt: str, planar: str) -> bool:
    try:
        repacked(av.VideoFrame(*_TRIAL_SIZE, pix_fmt), planar)
    except (av.FFmpegError, ValueError):
        return False
    return True


def without_alpha(pix_fmt: str) -> str:
    """The member of `PLANAR` with the colours of ``pix_fmt``, another one, alone."""
    return next(name for name in PLANAR if pix_fmt in (name, _with_alpha(name)))


@cache
def exact_layout(pix_fmt: str) -> Layout | None:
    """The layout of ``pix_fmt`` if a planar format can be repacked into it without any loss."""
    try:
        planar = nearest_planar(pix_fmt)
    except FormatError:
        return None
    _, loss = find_best_pix_fmt_of_list([pix_fmt], planar)
    deprecated = pix_fmt.startswith("yuvj")
    return None if loss or deprecated else PLANAR[planar]


def repacked(frame: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    """``frame`` with the same samples in the order of ``pix_fmt``."""
    if frame.format.name == pix_fmt:
        return frame
    # In several threads libswscale, which writes past the ends of rows, spoils other threads' rows.
    return frame.reformat(format=pix_fmt, threads=1)


def has_alpha(pix_fmt: str) -> bool:
    """Whether ``pix_fmt`` carries transparency."""
    return pix_fmt == "pal8" or any(c.is_alpha for c in av.VideoFormat(pix_fmt).components)
