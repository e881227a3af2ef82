"""Colour against hand-made numbers, against plain matrices and against itself."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pictures import DEPTHS, random_planes, random_rgb, sitings

from lkdn_core import color
from lkdn_core.color import from_rgb, from_rgb_plain, to_rgb
from lkdn_core.errors import FormatError
from lkdn_core.formats import SUPPORTED_MATRICES, ChromaLocation, Family, FrameFormat
from lkdn_core.resize import bicubic_weights


@pytest.mark.parametrize(
    ("rgb", "matrix", "color_range", "bits", "codes"),
    [
        ((1, 0, 0), "bt709", "limited", 8, (63, 102, 240)),
        ((0, 0, 1), "smpte170m", "limited", 8, (41, 240, 110)),
        ((0, 1, 0), "bt470bg", "full", 8, (150, 44, 21)),
        ((1, 1, 1), "bt2020nc", "limited", 10, (940, 512, 512)),
        ((0, 0, 0), "bt709", "limited", 16, (4096, 32768, 32768)),
        ((1, 1, 1), "bt709", "full", 16, (65535, 32768, 32768)),
        ((1, 0, 0), "bt2020nc", "limited", 10, (294, 387, 960)),
        ((1, 0, 0), "ycgco", "limited", 8, (71, 73, 238)),
        ((0, 1, 0), "ycgco", "full", 8, (128, 255, 128)),
    ],
)
def test_one_colour_by_hand(
    rgb: tuple[float, ...], matrix: str, color_range: Any, bits: int, codes: tuple[int, ...]
) -> None:
    format = FrameFormat(family="yuv", bits=bits, matrix=matrix, color_range=color_range)
    x = torch.tensor(rgb, dtype=torch.float32)[None, :, None, None]
    planes = from_rgb(x, format)
    assert tuple(int(p) for p in planes) == codes
    torch.testing.assert_close(to_rgb(planes, format), x, rtol=0, atol=1.6 / 2**bits)


@pytest.mark.parametrize("matrix", SUPPORTED_MATRICES)
@pytest.mark.parametrize("color_range", ["limited", "full"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_round_trip_of_444_is_the_identity(matrix: str, color_range: Any, bits: int) -> None:
    format = FrameFormat(family="yuv", bits=bits, matrix=matrix, color_range=color_range)
    planes = from_rgb(0.05 + 0.9 * random_rgb(31, 23), format)
    torch.testing.assert_close(from_rgb(to_rgb(planes, format), format), planes, rtol=0, atol=0)


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("color_range", ["limited", "full"])
def test_neutral_colours_stay_neutral(bits: int, color_range: Any) -> None:
    unit, top = 2 ** (bits - 8), 2**bits - 1
    first, last = (0, top) if color_range == "full" else (16 * unit, 235 * unit)
    ramp = torch.arange(first, last + 1)[None, None]  # (1, 1, W)
    gray = FrameFormat(family="gray", bits=bits, color_range=color_range)
    codes = ramp.to(gray.dtype)
    rgb = to_rgb([codes], gray)
    assert rgb[0, :, 0, [0, -1]].tolist() == [[0, 1]] * 3
    assert torch.equal(from_rgb(rgb, gray)[0], codes)
    for matrix in SUPPORTED_MATRICES:
        yuv = replace(gray, family="yuv", matrix=matrix)
        middle = torch.full_like(ramp, 128 * unit).to(gray.dtype)
        torch.testing.assert_close(to_rgb([codes, middle, middle], yuv), rgb, rtol=0, atol=0)
        torch.testing.assert_close(from_rgb(rgb, yuv), [codes, middle, middle], rtol=0, atol=0)


@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("family", ["gray", "yuv", "rgb"])
def test_headroom_holds_what_is_whiter_than_white(bits: int, family: Family) -> None:
    unit = 2 ** (bits - 8)
    format = FrameFormat(family=family, bits=bits, color_range="limited", headroom=True)
    format = format.resolved(1920, 1080)
    codes = torch.arange(255 * unit + 1)[None, None].to(format.dtype)  # (1, 1, W)
    middle = torch.full_like(codes.float(), 128 * unit).to(format.dtype)
    planes = {"gray": [codes], "yuv": [codes, middle, middle], "rgb": [codes] * 3}[family]
    rgb = to_rgb(planes, format)
    expected = (codes.float() / (255 * unit)).expand(3, 1, -1)[None]
    torch.testing.assert_close(rgb, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(from_rgb(rgb, format), planes, rtol=0, atol=0)


def test_headroom_of_floats() -> None:
    luma = torch.tensor([-16 / 219, 0, 0.5, 1, 239 / 219, 3])[None, None]
    zero = torch.zeros_like(luma)
    format = FrameFormat(family="yuv", bits=32, sample_type="float", matrix="bt709", headroom=True)
    rgb = to_rgb([luma, zero, zero], format)
    expected = torch.tensor([0, 16, 125.5, 235, 255, 255]) / 255
    torch.testing.assert_close(rgb[0, 1, 0], expected, rtol=0, atol=1e-6)
    planes = [luma.clamp(max=239 / 219), zero, zero]
    torch.testing.assert_close(from_rgb(rgb, format), planes, rtol=0, atol=1e-6)


def sites(format: FrameFormat) -> tuple[tuple[float, int], tuple[float, int]]:
    """(first site, distance of sites) of the chroma samples in luma samples, across and down."""
    across, down = (2**log2 for log2 in format.subsampling)
    place = format.chroma_location or ""
    x = 0.0 if "left" in place else (across - 1) / 2
    y = 0.0 if "top" in place else (down - 1) * (1.0 if "bottom" in place else 0.5)
    return (x, across), (y, down)


@pytest.mark.parametrize("siting", sitings()[1:], ids=str)
@pytest.mark.parametrize("size", [(48, 40), (47, 39)])
def test_a_chroma_ramp_shows_where_chroma_sits(
    siting: dict[str, Any], size: tuple[int, int]
) -> None:
    format = FrameFormat(family="yuv", bits=32, sample_type="float", matrix="bt709", **siting)
    h, w = format.plane_shapes(*size)[1]
    (x, across), (y, down) = sites(format)
    column, row = torch.arange(size[0]) / 1000, torch.arange(size[1])[:, None] / 1000
    chroma_column = (torch.arange(w) * across + x) / 1000
    chroma_row = (torch.arange(h)[:, None] * down + y) / 1000
    luma, zero = torch.full((1, size[1], size[0]), 0.5), torch.zeros(1, h, w)
    # Interpolation keeps a ramp as it is, away from the borders.
    rgb = to_rgb([luma, (chroma_column + chroma_row)[None], zero], format)
    inside = (0, slice(8, -8), slice(8, -8))
    expected = 2 * (1 - 0.0722) * (column + row)[None]
    torch.testing.assert_close((rgb[:, 2] - luma)[inside], expected[inside], rtol=0, atol=1e-6)
    rgb = torch.stack([luma, luma, luma + column + row], 1)
    cb = from_rgb(rgb, format)[1]
    inside = (0, slice(2, -2), slice(2, -2))
    expected = (chroma_column + chroma_row)[None] / 2
    torch.testing.assert_close(cb[inside], expected[inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize("siting", sitings()[1:], ids=str)
@pytest.mark.parametrize("size", [(4, 4), (8, 4), (16, 24)])
def test_chroma_equals_dense_bicubic_matrices(
    siting: dict[str, Any], size: tuple[int, int]
) -> None:
    """Mirrored borders too, where the picture is smaller than the kernel and zimg refuses."""
    format = FrameFormat(family="yuv", bits=32, sample_type="float", matrix="bt709", **siting)
    h, w = format.plane_shapes(*size)[1]
    (x, across), (y, down) = sites(format)
    shift_x, shift_y = x - (across - 1) / 2, y - (down - 1) / 2
    rgb = 0.3 + 0.4 * random_rgb(*size)
    full = replace(format, subsampling=(0, 0))
    rows = bicubic_weights(size[1], h, shift=shift_y).float()
    columns = bicubic_weights(size[0], w, shift=shift_x).float()
    luma, cb, cr = from_rgb(rgb, format)
    for plane, dense in zip((cb, cr), from_rgb(rgb, full)[1:], strict=True):
        torch.testing.assert_close(plane, rows @ dense @ columns.T, rtol=0, atol=1e-6)
    rows = bicubic_weights(h, size[1], shift=-shift_y / down).float()
    columns = bicubic_weights(w, size[0], shift=-shift_x / across).float()
    dense_planes = [luma, rows @ cb @ columns.T, rows @ cr @ columns.T]
    expected = to_rgb(dense_planes, full)
    torch.testing.assert_close(to_rgb([luma, cb, cr], format), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("siting", sitings()[1:], ids=str)
def test_an_odd_picture_is_a_cropped_even_one(siting: dict[str, Any]) -> None:
    format = FrameFormat(family="yuv", bits=10, matrix="bt709", **siting)
    across, down = (2**log2 for log2 in format.subsampling)
    width, height = -(-25 // across) * across, -(-17 // down) * down
    luma, cb, cr = random_planes(format, width, height)
    odd = to_rgb([luma[:, :17, :25], cb, cr], format)
    assert torch.equal(odd, to_rgb([luma, cb, cr], format)[..., :17, :25])
    rgb = random_rgb(width, height)
    cropped = from_rgb(rgb[..., :17, :25], format)
    for plane, whole in zip(cropped, from_rgb(rgb, format), strict=True):
        # Equal away from the border, by the reach of the kernel.
        h, w = plane.shape[1] - 3, plane.shape[2] - 3
        assert torch.equal(plane[:, :h, :w], whole[:, :h, :w])


@pytest.mark.parametrize("siting", sitings(), ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (5, 2), (13, 7)])
def test_a_flat_colour_stays_flat_at_any_size(
    siting: dict[str, Any], size: tuple[int, int]
) -> None:
    format = FrameFormat(family="yuv", bits=10, matrix="bt709", **siting)
    shapes = format.plane_shapes(*size)
    flat = zip((500, 400, 600), shapes, strict=True)
    planes = [torch.full((1, *s), code, dtype=torch.int32).to(torch.uint16) for code, s in flat]
    torch.testing.assert_close(from_rgb(to_rgb(planes, format), format), planes, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["yuv", "rgb", "gray"])
@pytest.mark.parametrize(("sample_type", "bits"), DEPTHS)
def test_batches_and_strided_planes(family: Any, sample_type: Any, bits: int) -> None:
    subsampling = (1, 1) if family == "yuv" else (0, 0)
    format = FrameFormat(
        family=family, bits=bits, sample_type=sample_type, subsampling=subsampling, matrix=None
    )
    planes = random_planes(format, 22, 14, batch=3)
    padded = [torch.cat([p, p], 2)[..., : p.shape[2]] for p in planes]
    copies = [p.clone() for p in padded]
    rgb = to_rgb(padded, format)
    one_by_one = torch.cat([to_rgb([p[i : i + 1] for p in planes], format) for i in range(3)])
    assert torch.equal(rgb, one_by_one)
    again = from_rgb(rgb, format)
    assert all(p.is_contiguous() for p in again)
    for plane, single in zip(again, from_rgb(rgb[1:2], format), strict=True):
        torch.testing.assert_close(plane[1:2], single, rtol=0, atol=0)
    torch.testing.assert_close(padded, copies, rtol=0, atol=0)  # inputs are left alone
    assert torch.equal(rgb, one_by_one)


def test_rgb_is_clipped_before_the_matrix() -> None:
    format = FrameFormat(family="yuv", matrix="bt709")
    rgb = torch.tensor([[[[2.0]], [[-1.0]], [[-0.5]]]])
    assert [int(p) for p in from_rgb(rgb, format)] == [63, 102, 240]
    assert [int(p) for p in from_rgb(rgb.half(), format)] == [63, 102, 240]
    planes = [torch.tensor([[[code]]], dtype=torch.uint8) for code in (255, 255, 0)]
    decoded = to_rgb(planes, format).flatten().tolist()
    assert decoded[0] == pytest.approx((255 - 16) / 219 - 1.5748 * 128 / 224, abs=1e-6)
    assert decoded[1:] == [1.0, 1.0]


def test_half_rgb_makes_the_same_codes_as_the_float_it_holds() -> None:
    format = FrameFormat(family="yuv", bits=10, subsampling=(1, 1))
    rgb = random_rgb(18, 10).half()
    torch.testing.assert_close(from_rgb(rgb, format), from_rgb(rgb.float(), format))


@pytest.mark.parametrize("family", ["yuv", "rgb", "gray"])
@pytest.mark.parametrize(("sample_type", "bits"), DEPTHS)
def test_rgb_of_any_memory_layout_makes_contiguous_planes(
    family: Any, sample_type: Any, bits: int
) -> None:
    format = FrameFormat(family=family, bits=bits, sample_type=sample_type)
    rgb = random_rgb(10, 14, batch=2)
    expected = from_rgb(rgb, format)
    for same in (rgb.mT.contiguous().mT, rgb.to(memory_format=torch.channels_last)):
        planes = from_rgb(same, format)
        assert all(p.is_contiguous() for p in planes)
        torch.testing.assert_close(planes, expected, rtol=0, atol=0)


def test_rgb_of_another_type_is_the_float_one_rounded() -> None:
    format = FrameFormat(family="yuv", subsampling=(1, 1))
    planes = random_planes(format, 9, 14)
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(to_rgb(planes, format, dtype=dtype), to_rgb(planes, format).to(dtype))


def test_untagged_gray_takes_the_weights_of_its_size() -> None:
    red = torch.zeros(1, 3, 578, 2)
    red[:, 0] = 1
    full = FrameFormat(family="gray", color_range="full")
    assert int(from_rgb(red, full)[0][0, 0, 0]) == 54  # 0.2126 * 255
    assert int(from_rgb(red[..., :2, :], full)[0][0, 0, 0]) == 76  # 0.299 * 255


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ([], torch.uint8, "planes: tensors .N, H, W. are accepted, got"),
        ([(4, 6)], torch.uint8, "planes: tensors .N, H, W. are accepted, got .4, 6."),
        ([(1, 0, 6)] * 3, torch.uint8, "planes: tensors .N, H, W. are accepted"),
        ([(1, 4, 6)], torch.uint8, "planes: shapes .* got"),
        ([(1, 4, 6)] * 3, torch.uint8, "planes: shapes .* got"),
        ([(2, 4, 6), (1, 2, 3), (1, 2, 3)], torch.uint8, "planes: shapes .* got"),
        ([(1, 4, 6), (1, 2, 3), (1, 2, 3)], torch.uint16, "torch.uint8 .* got torch.uint16"),
    ],
)
def test_planes_that_do_not_fit_are_refused(
    shapes: list[tuple[int, ...]], dtype: torch.dtype, message: str
) -> None:
    planes = [torch.zeros(shape, dtype=dtype) for shape in shapes]
    with pytest.raises(FormatError, match=message):
        to_rgb(planes, FrameFormat(family="yuv", subsampling=(1, 1)))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 4, 6), torch.float32),
        ((1, 4, 4, 6), torch.float32),
        ((1, 3, 0, 6), torch.float32),
        ((1, 3, 4, 6), torch.uint8),
    ],
)
def test_other_rgb_is_refused(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    with pytest.raises(FormatError, match=r"rgb: a float tensor .N, 3, H, W. is accepted, got"):
        from_rgb(torch.zeros(shape, dtype=dtype), FrameFormat(family="rgb"))


@pytest.mark.gpu
@pytest.mark.parametrize(("sample_type", "bits"), DEPTHS)
def test_a_gpu_gives_the_same(sample_type: Any, bits: int) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    format = FrameFormat(family="yuv", bits=bits, sample_type=sample_type, subsampling=(1, 1))
    planes = random_planes(format, 33, 17, batch=2)
    rgb = to_rgb([p.cuda() for p in planes], format)
    torch.testing.assert_close(rgb.cpu(), to_rgb(planes, format), rtol=0, atol=1e-6)
    for gpu, cpu in zip(from_rgb(rgb, format), from_rgb(rgb.cpu(), format), strict=True):
        difference = (gpu.cpu().double() - cpu.double()).abs().max()
        assert difference <= (1 if sample_type == "integer" else 2.0**-11)


@pytest.mark.parametrize("family", ["rgb", "yuv", "gray"])
@pytest.mark.parametrize("location", ["topleft", "bottom", None])
def test_a_tall_picture_is_encoded_as_in_one_piece(
    family: Family, location: ChromaLocation | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bands of rows are for memory and speed: no sample may tell where one ends."""
    for sub in ((0, 0), (1, 0), (1, 1), (2, 2)) if family == "yuv" else ((0, 0),):
        place = location if sub != (0, 0) else None
        format = FrameFormat(family=family, bits=12, subsampling=sub, chroma_location=place)
        rgb = torch.rand(2, 3, 211, 24, generator=torch.Generator().manual_seed(3))
        format = format.resolved(24, 211)
        sizes = format.plane_shapes(24, 211)
        made = []
        for samples in (2**18, 1):
            monkeypatch.setattr(color, "_BAND_SAMPLES", samples)
            planes = [torch.empty(2, *size, dtype=format.dtype) for size in sizes]
            from_rgb_plain(rgb, planes, format)
            made.append(planes)
        assert all(map(torch.equal, *made))


def test_planes_to_fill_may_be_strided() -> None:
    """What a host lends us has rows of its own length; what lies beside them stays as it was."""
    rgb = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(3))
    single = FrameFormat(family="rgb", bits=32, sample_type="float")
    for tagged in (single, FrameFormat(family="yuv")):
        format = tagged.resolved(7, 9)
        expected = from_rgb(rgb, format)
        wide = [p.new_full((1, p.shape[1], p.shape[2] + 5), 3) for p in expected]
        out = [w[:, :, : p.shape[2]] for w, p in zip(wide, expected, strict=True)]
        from_rgb(rgb, format, out=out)
        assert all(map(torch.equal, out, expected))
        assert all((w[:, :, p.shape[2] :] == 3).all() for w, p in zip(wide, expected, strict=True))
