"""FrameFormat: what is accepted, what is guessed, and the sizes of planes."""

from typing import Any

import pytest
import torch
import vapoursynth as vs

from lkdn_core.errors import FormatError
from lkdn_core.formats import (
    CHROMA_LOCATIONS,
    MATRICES,
    RANGES,
    SUPPORTED_MATRICES,
    FrameFormat,
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "cmyk"}, "family: rgb, yuv or gray is accepted, got 'cmyk'"),
        ({"family": "yuv", "bits": 7}, "bits of integer samples: .* got 7"),
        ({"family": "gray", "bits": "8"}, "bits of integer samples: .* got '8'"),
        ({"family": "yuv", "bits": 17}, "bits of integer samples: .* got 17"),
        ({"family": "rgb", "bits": 32}, "bits of integer samples: .* got 32"),
        ({"family": "rgb", "sample_type": "float"}, "bits of float samples: 16 or 32 .* got 8"),
        ({"family": "rgb", "sample_type": "complex"}, "sample_type: .* got 'complex'"),
        ({"family": "yuv", "subsampling": (3, 0)}, "subsampling of yuv: .* got \\(3, 0\\)"),
        ({"family": "rgb", "subsampling": (1, 1)}, "subsampling of rgb: \\(0, 0\\) is accepted"),
        ({"family": "gray", "subsampling": (1, 0)}, "subsampling of gray: \\(0, 0\\) is accepted"),
        ({"family": "rgb", "matrix": "bt709"}, "matrix of rgb: None is accepted, got 'bt709'"),
        ({"family": "yuv", "matrix": "bt2020c"}, "matrix: bt709, smpte170m.* got 'bt2020c'"),
        ({"family": "yuv", "matrix": "ictcp"}, "matrix: bt709, smpte170m.* got 'ictcp'"),
        ({"family": "yuv", "matrix": "709"}, "matrix: bt709, smpte170m.* got '709'"),
        ({"family": "yuv", "color_range": "tv"}, "color_range: limited, full.* got 'tv'"),
        ({"family": "yuv", "bits": 8.0}, "bits of integer samples: .* got 8.0"),
        ({"family": "yuv", "subsampling": (1.0, 1)}, "subsampling of yuv: .* got \\(1.0, 1\\)"),
        ({"family": "yuv", "headroom": "no"}, "headroom: False or True is accepted, got 'no'"),
        ({"family": "yuv", "chroma_location": "middle"}, "chroma_location: .* got 'middle'"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        FrameFormat(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sample_type", "bits", "dtype"),
    [
        ("integer", 8, torch.uint8),
        ("integer", 9, torch.uint16),
        ("integer", 16, torch.uint16),
        ("float", 16, torch.float16),
        ("float", 32, torch.float32),
    ],
)
def test_dtype(sample_type: Any, bits: int, dtype: torch.dtype) -> None:
    assert FrameFormat(family="yuv", sample_type=sample_type, bits=bits).dtype == dtype


@pytest.mark.parametrize(
    ("subsampling", "chroma"),
    [
        ((0, 0), (7, 13)),
        ((1, 0), (7, 7)),
        ((1, 1), (4, 7)),
        ((0, 1), (4, 13)),
        ((2, 0), (7, 4)),
        ((2, 2), (2, 4)),
    ],
)
def test_chroma_of_odd_sizes_rounds_up(
    subsampling: tuple[int, int], chroma: tuple[int, int]
) -> None:
    format = FrameFormat(family="yuv", subsampling=subsampling)
    assert format.plane_shapes(13, 7) == [(7, 13), chroma, chroma]


def test_planes_of_rgb_and_gray() -> None:
    assert FrameFormat(family="rgb").plane_shapes(13, 7) == [(7, 13)] * 3
    assert FrameFormat(family="gray").plane_shapes(13, 7) == [(7, 13)]


@pytest.mark.parametrize(
    ("width", "height", "matrix"),
    [
        (720, 576, "smpte170m"),
        (1024, 576, "smpte170m"),
        (1026, 576, "bt709"),
        (720, 578, "bt709"),
        (1920, 1080, "bt709"),
        (7680, 4320, "bt709"),
    ],
)
def test_what_is_not_tagged_follows_the_size(width: int, height: int, matrix: str) -> None:
    yuv = FrameFormat(family="yuv", subsampling=(1, 1)).resolved(width, height)
    assert (yuv.matrix, yuv.color_range, yuv.chroma_location) == (matrix, "limited", "left")
    gray = FrameFormat(family="gray", bits=10).resolved(width, height)
    assert (gray.matrix, gray.color_range, gray.chroma_location) == (matrix, "limited", None)
    rgb = FrameFormat(family="rgb").resolved(width, height)
    assert (rgb.matrix, rgb.color_range, rgb.chroma_location) == (None, "full", None)


def test_tags_stay_when_resolved() -> None:
    tagged = FrameFormat(
        family="yuv",
        subsampling=(1, 1),
        matrix="bt2020nc",
        color_range="full",
        chroma_location="topleft",
    )
    assert tagged.resolved(720, 576) == tagged
    untagged = FrameFormat(family="yuv", subsampling=(1, 1)).resolved(720, 576)
    assert untagged.resolved(3840, 2160) == untagged


def test_tables_give_names_that_the_format_takes_or_refuses_by_name() -> None:
    accepted = []
    for matrix in MATRICES.values():
        try:
            accepted.append(FrameFormat(family="yuv", matrix=matrix).matrix)
        except FormatError as error:
            assert matrix in str(error)
    assert sorted(map(str, accepted)) == sorted(SUPPORTED_MATRICES)
    for color_range in RANGES.values():
        FrameFormat(family="yuv", color_range=color_range)
    for location in CHROMA_LOCATIONS.values():
        FrameFormat(family="yuv", chroma_location=location)


def test_tables_agree_with_vapoursynth() -> None:
    assert MATRICES[vs.MATRIX_BT709] == "bt709"
    assert MATRICES[vs.MATRIX_FCC] == "fcc"
    assert MATRICES[vs.MATRIX_BT470_BG] == "bt470bg"
    assert MATRICES[vs.MATRIX_ST170_M] == "smpte170m"
    assert MATRICES[vs.MATRIX_ST240_M] == "smpte240m"
    assert MATRICES[vs.MATRIX_YCGCO] == "ycgco"
    assert MATRICES[vs.MATRIX_BT2020_NCL] == "bt2020nc"
    names = {c.value: c.name.removeprefix("CHROMA_") for c in vs.ChromaLocation}
    assert {k: v.upper() for k, v in CHROMA_LOCATIONS.items()} == {
        k: v.replace("_", "") for k, v in names.items()
    }
