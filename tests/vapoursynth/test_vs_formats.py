"""Formats in and out, tags, and the distance to what a careful user does by hand."""

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from vs_clips import HEIGHT, WIDTH, all_frames, equal, noise, planes

from lkdn_core import FrameFormat, Upscaler
from lkdn_core.native_library import native_library

FORMATS = [
    *(vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS),
    *(vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS),
    *(vs.YUV420P8, vs.YUV420P9, vs.YUV420P10, vs.YUV420P12, vs.YUV420P14, vs.YUV420P16),
    *(vs.YUV422P8, vs.YUV422P10, vs.YUV440P8, vs.YUV444P8, vs.YUV444P16),
    *(vs.YUV420PH, vs.YUV420PS, vs.YUV444PH, vs.YUV444PS),
]


@pytest.fixture(scope="module")
def engine(weights: str) -> Upscaler:
    return Upscaler(scale=2, weights=weights, device="cpu", precision="fp32")


def by_engine(engine: Upscaler, frame: list[np.ndarray], format: FrameFormat) -> list[np.ndarray]:
    """What the core makes of the planes of one frame."""
    source = [torch.from_numpy(plane)[None] for plane in frame]
    return [plane[0].numpy() for plane in engine.up_planes(source, format)]


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_every_format_comes_out_as_it_went_in(
    engine: Upscaler, weights: str, format: vs.PresetVideoFormat
) -> None:
    clip = noise(format, name="a string", _SARNum=3, _DurationNum=1001)
    larger = vs.core.lkdn.Upscale(clip, scale=2, weights=weights)
    assert larger.format == clip.format
    assert (larger.width, larger.height) == (2 * WIDTH, 2 * HEIGHT)
    assert (larger.num_frames, larger.fps) == (clip.num_frames, clip.fps)
    f = clip.format
    core_format = FrameFormat(
        family={vs.RGB: "rgb", vs.YUV: "yuv", vs.GRAY: "gray"}[f.color_family],
        bits=f.bits_per_sample,
        sample_type="float" if f.sample_type == vs.FLOAT else "integer",
        subsampling=(f.subsampling_w, f.subsampling_h),
    )
    for n in range(clip.num_frames):
        before, after = clip.get_frame(n), larger.get_frame(n)
        expected = dict(before.props)
        if f.color_family == vs.YUV:  # what the default meant is written down
            expected["_Matrix"] = vs.MATRIX_ST170_M
        assert dict(after.props) == expected
        assert equal(by_engine(engine, planes(before), core_format), planes(after))


def test_headroom_reaches_the_engine(engine: Upscaler, weights: str) -> None:
    clip = noise(vs.YUV444P8, 1)  # of all codes
    larger = vs.core.lkdn.Upscale(clip, scale=2, weights=weights, headroom=True)
    format = FrameFormat(family="yuv", headroom=True)
    got, frame = planes(larger.get_frame(0)), planes(clip.get_frame(0))
    assert equal(by_engine(engine, frame, format), got)
    assert not equal(by_engine(engine, frame, FrameFormat(family="yuv")), got)


def test_positions_reach_the_engine(weights: str) -> None:
    clip = noise(vs.YUV420P8, 2)
    engine = Upscaler(scale=2, weights=weights, device="cpu", precision="fp32", tta=4)
    larger = vs.core.lkdn.Upscale(clip, scale=2, weights=weights, tta=4)
    plain = vs.core.lkdn.Upscale(clip, scale=2, weights=weights)
    format = FrameFormat(family="yuv", subsampling=(1, 1))
    for n in range(clip.num_frames):
        got = planes(larger.get_frame(n))
        assert equal(by_engine(engine, planes(clip.get_frame(n)), format), got)
        assert not equal(planes(plain.get_frame(n)), got)


def test_strength_of_smoothing_reaches_the_engine() -> None:
    clip, format = noise(vs.RGB24, 1), FrameFormat(family="rgb")
    for strength in (1 / 3, 1):
        engine = Upscaler(scale=4, device="cpu", precision="fp32", denoise=strength)
        got = planes(clip.lkdn.Upscale(denoise=strength).get_frame(0))
        assert equal(by_engine(engine, planes(clip.get_frame(0)), format), got)
    assert equal(planes(clip.lkdn.Upscale(model="lkdn-s-video").get_frame(0)), got)


def test_the_backend_is_the_engines(weights: str) -> None:
    clip, format = noise(vs.RGBS, 1), FrameFormat(family="rgb", bits=32, sample_type="float")
    results = []
    for backend in ("auto", "reference"):
        larger = clip.lkdn.Upscale(scale=2, weights=weights, backend=backend)
        engine = Upscaler(scale=2, weights=weights, precision="fp32", backend=backend, device="cpu")
        results.append(planes(larger.get_frame(0)))
        assert equal(by_engine(engine, planes(clip.get_frame(0)), format), results[-1])
    if native_library() is not None:  # which sums up in another order
        assert not equal(*results)


def test_the_source_is_left_alone(weights: str) -> None:
    for format in (vs.RGBS, vs.GRAYS, vs.YUV444PS, vs.YUV420P8):
        clip = noise(format, 1)
        frame = clip.get_frame(0)
        before = [np.array(frame[i]) for i in range(frame.format.num_planes)]
        held = vs.core.std.BlankClip(clip, keep=True).std.ModifyFrame(clip, lambda n, f: frame)  # noqa: B023
        all_frames(held.lkdn.Upscale(scale=2, weights=weights))
        assert equal(before, planes(frame))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"_Matrix": 1}, {"matrix": "bt709"}),
        ({"_Matrix": 9, "_Range": 1}, {"matrix": "bt2020nc", "color_range": "full"}),
        (
            {"_Range": 0, "_ChromaLocation": 1},
            {"color_range": "limited", "chroma_location": "center"},
        ),
        ({"_Matrix": 2, "_ChromaLocation": 2}, {"chroma_location": "topleft"}),
    ],
)
def test_tags_are_honoured(
    engine: Upscaler, weights: str, tags: dict[str, int], expected: dict[str, Any]
) -> None:
    clip = noise(vs.YUV420P8, 1, **tags)
    (after,) = all_frames(clip.lkdn.Upscale(scale=2, weights=weights))
    (before,) = all_frames(clip)
    plain = FrameFormat(family="yuv", subsampling=(1, 1))
    tagged = FrameFormat(family="yuv", subsampling=(1, 1), **expected)
    assert equal(after, by_engine(engine, before, tagged))
    assert not equal(after, by_engine(engine, before, plain))


@pytest.mark.filterwarnings("ignore:The _ColorRange")
@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0)])
def test_the_old_range_property_counts_the_other_way(weights: str, old: int, new: int) -> None:
    clips = [noise(vs.YUV420P8, 1, _ColorRange=old), noise(vs.YUV420P8, 1, _Range=new)]
    before, after = (all_frames(c.lkdn.Upscale(scale=2, weights=weights))[0] for c in clips)
    assert equal(before, after)


def test_a_block_may_hold_frames_of_different_tags(weights: str) -> None:
    tags = [{"_Matrix": 1}, {"_Matrix": 6, "_Range": 1}, {"_Matrix": 1}, {"_ChromaLocation": 1}]
    source = noise(vs.YUV420P8, len(tags))
    parts = [source[i].std.SetFrameProps(**tag) for i, tag in enumerate(tags)]
    options = {"scale": 2, "weights": weights}
    together = vs.core.std.Splice(parts).lkdn.Upscale(batch=4, **options)
    matrices = [together.get_frame(n).props["_Matrix"] for n in range(4)]
    assert matrices == [1, 6, 1, vs.MATRIX_ST170_M]
    for part, frame in zip(parts, all_frames(together), strict=True):
        assert equal(frame, all_frames(part.lkdn.Upscale(**options))[0])


def test_the_argument_overrides_the_tag(weights: str) -> None:
    options = {"scale": 2, "weights": weights}
    right = noise(vs.YUV420P8, 1, _Matrix=9).lkdn.Upscale(**options)
    wrong = noise(vs.YUV420P8, 1, _Matrix=14).lkdn.Upscale(matrix=vs.MATRIX_BT2020_NCL, **options)
    assert wrong.get_frame(0).props["_Matrix"] == 9
    assert equal(all_frames(right)[0], all_frames(wrong)[0])


@pytest.mark.parametrize("matrix", [0, 14, 99])
def test_gray_out_of_something_else_needs_no_override(weights: str, matrix: int) -> None:
    clip = noise(vs.GRAY8, 1, _Matrix=matrix)
    larger = clip.lkdn.Upscale(scale=2, weights=weights)
    assert larger.get_frame(0).props["_Matrix"] == matrix
    untagged = noise(vs.GRAY8, 1).lkdn.Upscale(scale=2, weights=weights)
    assert equal(all_frames(larger)[0], all_frames(untagged)[0])


@pytest.mark.filterwarnings("ignore:The _ColorRange")
@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"_Matrix": 99}, r"_Matrix: one of 1 \(bt709\), .* got 99; the argument matrix overrides"),
        ({"_Matrix": -1}, "_Matrix: .* got -1;"),
        ({"_Matrix": 1.0}, "_Matrix: .* got something that is no integer;"),
        ({"_Range": 2}, r"_Range: one of 0 \(limited\), 1 \(full\) is accepted, got 2$"),
        ({"_Range": "full"}, "_Range: .* no integer$"),
        ({"_ColorRange": 5}, "_Range: .* got 5$"),
        ({"_ChromaLocation": 6}, "_ChromaLocation: one of .* got 6$"),
        ({"_FieldBased": 1}, r"_FieldBased: progressive frames \(0\) are accepted, got 1: deint"),
        ({"_FieldBased": "x"}, "_FieldBased: .* got something that is no integer: "),
        ({"_FieldBased": 2}, r"_FieldBased: .* std\.SetFieldBased\(0\) if it is wrong"),
    ],
)
def test_tags_that_mean_nothing_or_fields_are_refused(
    weights: str, tags: dict[str, Any], message: str
) -> None:
    larger = noise(vs.YUV420P8, 1, **tags).lkdn.Upscale(scale=2, weights=weights)
    with pytest.raises(vs.Error, match=f"^Upscale: frame 0: {message}"):
        larger.get_frame(0)


def test_a_size_beyond_numbers_is_refused(weights: str) -> None:
    clip = vs.core.std.BlankClip(format=vs.GRAY8, width=1_500_000_000, height=1)
    with pytest.raises(vs.Error, match="clip: 1500000000x1 is too large to enlarge 2 times"):
        clip.lkdn.Upscale(scale=2, weights=weights)


@pytest.mark.parametrize(("matrix", "color_range"), [(1, 0), (6, 0), (9, 1)])
@pytest.mark.parametrize(
    "format", [vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.RGB24, vs.GRAY16], ids=lambda f: f.name
)
def test_distance_to_the_route_by_hand(
    weights: str, format: vs.PresetVideoFormat, matrix: int, color_range: int
) -> None:
    """The network between two ``resize.Bicubic`` differs by rounding boundaries only."""
    clip = noise(format, 2, _Range=color_range)
    bicubic = {"filter_param_a": 0, "filter_param_b": 0.5, "dither_type": "none"}
    tags: dict[str, int] = {"range": color_range}
    if clip.format.color_family == vs.YUV:
        clip = clip.std.SetFrameProps(_Matrix=matrix)
        tags["matrix"] = matrix
    if clip.format.color_family == vs.GRAY:  # by hand gray is one plane of RGB
        float_clip = clip.resize.Bicubic(format=vs.GRAYS, **bicubic)
        rgb = vs.core.std.ShufflePlanes([float_clip] * 3, [0, 0, 0], vs.RGB)
        tags["matrix"] = matrix
        clip = clip.std.SetFrameProps(_Matrix=matrix)
    else:
        rgb = clip.resize.Bicubic(format=vs.RGBS, **bicubic)
    options = {"scale": 2, "weights": weights}
    by_hand = rgb.lkdn.Upscale(**options).resize.Bicubic(format=clip.format, **bicubic, **tags)
    for ours, theirs in zip(
        all_frames(clip.lkdn.Upscale(**options)), all_frames(by_hand), strict=True
    ):
        off = np.concatenate(
            [
                np.abs(a.astype(int) - b.astype(int)).ravel()
                for a, b in zip(ours, theirs, strict=True)
            ]
        )
        assert off.max() <= 1
        assert off.mean() <= (0.01 if clip.format.bits_per_sample == 16 else 0.002)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (lambda: noise(vs.GRAY32), "clip: bits of integer samples: 8, 9"),
        (
            lambda: vs.core.std.Splice(
                [vs.core.std.BlankClip(width=w, length=1) for w in (32, 48)], mismatch=True
            ),
            "clip: a constant format and size is accepted, got a variable one",
        ),
        (
            lambda: vs.core.std.Splice(
                [vs.core.std.BlankClip(format=f, length=1) for f in (vs.RGB24, vs.GRAY8)],
                mismatch=True,
            ),
            "clip: a constant format and size is accepted, got a variable one",
        ),
    ],
    ids=["32 bits", "sizes vary", "formats vary"],
)
def test_what_cannot_be_enlarged_says_so(weights: str, clip: Any, message: str) -> None:
    with pytest.raises(vs.Error) as error:
        clip().lkdn.Upscale(scale=2, weights=weights)
    assert str(error.value).startswith(f"Upscale: {message}")


def test_a_frame_with_an_unknown_matrix_fails_alone(weights: str) -> None:
    source = noise(vs.YUV420P8, 6)
    bad = source[4].std.SetFrameProps(_Matrix=14)
    larger = (source[:4] + bad + source[5]).lkdn.Upscale(scale=2, weights=weights, batch=2)
    with pytest.raises(vs.Error, match=r"^Upscale: frames 4 to 5: _Matrix: .* got ictcp") as error:
        larger.get_frame(5)
    assert "\n" not in str(error.value)
    assert equal(
        planes(larger.get_frame(3)), all_frames(source.lkdn.Upscale(scale=2, weights=weights))[3]
    )
