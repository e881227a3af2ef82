"""What the samples of a frame mean: family, depth, subsampling and colour tags.

Names are those of ffmpeg; numbers are the code points of ITU-T H.273, which VapourSynth uses in
its frame properties too (except the old ``_ColorRange``, where 0 is full and 1 limited).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from lkdn_core import checks
from lkdn_core.errors import FormatError

if TYPE_CHECKING:
    import torch

__all__ = [
    "CHROMA_LOCATIONS",
    "MATRICES",
    "RANGES",
    "SUPPORTED_MATRICES",
    "ChromaLocation",
    "ColorRange",
    "Family",
    "FrameFormat",
    "SampleType",
]

Family = Literal["rgb", "yuv", "gray"]
SampleType = Literal["integer", "float"]
ColorRange = Literal["limited", "full"]
ChromaLocation = Literal["left", "center", "topleft", "top", "bottomleft", "bottom"]

#: MatrixCoefficients (H.273 table 4). 2 means "not tagged", so ``MATRICES.get(code)`` is the tag
#: to give to `FrameFormat`, which refuses by name what it does not support.
MATRICES: Final[dict[int, str]] = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
    16: "ycgco-re",
    17: "ycgco-ro",
}
#: The matrices `lkdn_core.color` knows; bt470bg and smpte170m (both BT.601) are the same numbers.
SUPPORTED_MATRICES: Final = (
    "bt709",
    "smpte170m",
    "bt470bg",
    "bt2020nc",
    "fcc",
    "smpte240m",
    "ycgco",
)
#: VideoFullRangeFlag.
RANGES: Final[dict[int, ColorRange]] = {0: "limited", 1: "full"}
#: Chroma420SampleLocType.
CHROMA_LOCATIONS: Final[dict[int, ChromaLocation]] = {
    0: "left",
    1: "center",
    2: "topleft",
    3: "top",
    4: "bottomleft",
    5: "bottom",
}

_FLOAT_BITS: Final = (16, 32)
#: Pictures up to this height and width are taken for standard definition.
_SD_HEIGHT, _SD_WIDTH = 576, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """The format of one frame; ``None`` in a colour field means that it is not tagged.

    ``bits``: 8 to 16 for integers, 16 or 32 for floats. ``subsampling``: log2 of the horizontal
    and vertical chroma subsampling, so 4:2:0 is (1, 1), 4:2:2 (1, 0) and 4:4:4 (0, 0); 0 to 2 each.
    ``matrix`` is one of `SUPPORTED_MATRICES` (for gray it gives the weights of luma). Float samples
    have no range: luma and RGB are in [0, 1], chroma is in [-0.5, 0.5], whatever ``color_range``.
    ``headroom``: `lkdn_core.color` makes [0, 1] of RGB from -16/219 to 239/219, the codes 0 to 255
    of 8 bits in limited range, so that what is whiter than white or blacker than black is not
    clipped, nor are most colours that no RGB has. Raises `FormatError` for anything else.
    """

    family: Family
    bits: int = 8
    sample_type: SampleType = "integer"
    subsampling: tuple[int, int] = (0, 0)
    matrix: str | None = None
    color_range: ColorRange | None = None
    chroma_location: ChromaLocation | None = None
    headroom: bool = False

    def __post_init__(self) -> None:
        choose = partial(checks.choose, error=FormatError)
        choose("family", self.family, ("rgb", "yuv", "gray"))
        choose("sample_type", self.sample_type, ("integer", "float"))
        choose("color_range", self.color_range, (*RANGES.values(), None))
        choose("chroma_location", self.chroma_location, (*CHROMA_LOCATIONS.values(), None))
        bits: tuple[int, ...] = tuple(range(8, 17))
        if self.sample_type == "float":
            bits = _FLOAT_BITS
        choose(f"bits of {self.sample_type} samples", self.bits, bits)
        if self.family == "rgb":
            choose("matrix of rgb", self.matrix, (None,))
        else:
            choose("matrix", self.matrix, (*SUPPORTED_MATRICES, None))
        allowed = tuple((x, y) for x in range(3) for y in range(3))
        if self.family != "yuv":
            allowed = ((0, 0),)
        choose(f"subsampling of {self.family}", self.subsampling, allowed)
        choose("headroom", self.headroom, (False, True))

    @property
    def dtype(self) -> "torch.dtype":
        """Element type of the planes: uint8, uint16 (9 to 16 bits), float16 or float32."""
        import torch  # here, so that formats can be told without it

        if self.sample_type == "float":
            return torch.float16 if self.bits == 16 else torch.float32
        return torch.uint8 if self.bits == 8 else torch.uint16

    def resolved(self, width: int, height: int) -> "FrameFormat":
        """This format with the tags that ``None`` leaves open filled in.

        Matrix: smpte170m up to 1024x576, bt709 above (bt2020nc is never guessed). Range: full for
        rgb, limited otherwise. Chroma location: left, as in MPEG-2 and H.264. What the family does
        not have (the matrix of rgb, the chroma location without subsampling) stays as it is.
        """
        matrix, location = self.matrix, self.chroma_location
        if matrix is None and self.family != "rgb":
            is_sd = height <= _SD_HEIGHT and width <= _SD_WIDTH
            matrix = "smpte170m" if is_sd else "bt709"
        if location is None and self.subsampling != (0, 0):
            location = "left"
        color_range = self.color_range or ("full" if self.family == "rgb" else "limited")
        return replace(self, matrix=matrix, color_range=color_range, chroma_location=location)

    def plane_shapes(self, width: int, height: int) -> list[tuple[int, int]]:
        """(H, W) of each plane of a ``width`` x ``height`` picture; odd sizes round chroma up."""
        x, y = self.subsampling
        chroma = (-(-height >> y), -(-width >> x))
        if self.family == "gray":
            return [(height, width)]
        return [(height, width), chroma, chroma]
