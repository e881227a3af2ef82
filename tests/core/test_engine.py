from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import YUV420P10, frames

from lkdn_core import Upscaler
from lkdn_core.arch import LKDN
from lkdn_core.backends import reference
from lkdn_core.calibrate import calibration_pictures
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.color import from_rgb, to_rgb
from lkdn_core.errors import ArgumentError, FormatError, OutOfMemoryError, WeightsError
from lkdn_core.formats import FrameFormat
from lkdn_core.native_library import instruction_sets
from lkdn_core.resize import FinalSize, bicubic_weights
from lkdn_core.room import Limits


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(3, 3, 41, 37, generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def test_up_is_the_network(weights_file: Path, rgb: torch.Tensor) -> None:
    weights, config = read_checkpoint(weights_file)
    network = LKDN(config)
    network.load_state_dict(weights)
    y = Upscaler(scale=2, weights=weights_file).up(rgb)
    assert y.shape == (3, 3, 82, 74)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, network(rgb), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_it_changes_nothing(
    weights_file: Path, rgb: torch.Tensor, dtype: torch.dtype
) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, backend="reference")
    expected = upscaler.up(rgb)
    planes = [torch.from_numpy(p)[None] for p in frames(1)[0]]
    expected_planes = upscaler.up_planes(planes, YUV420P10)
    with torch.autocast("cpu", dtype):
        assert torch.equal(upscaler.up(rgb), expected)
        for plane, wanted in zip(
            upscaler.up_planes(planes, YUV420P10), expected_planes, strict=True
        ):
            assert torch.equal(plane, wanted)


def test_results_are_tensors_like_any_other(weights_file: Path, rgb: torch.Tensor) -> None:
    y = Upscaler(scale=2, weights=weights_file).up(rgb.requires_grad_())
    assert not y.requires_grad
    y.clamp_(0, 1)
    scale = torch.ones((), requires_grad=True)
    torch.autograd.backward((scale * y).square().mean())
    assert scale.grad is not None


@pytest.mark.parametrize("tile", [1, 7, 16, 40])
def test_tiles_are_exact(weights_file: Path, rgb: torch.Tensor, tile: int) -> None:
    whole = Upscaler(scale=2, weights=weights_file).up(rgb)
    tiled = Upscaler(scale=2, weights=weights_file, tile=tile).up(rgb)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_too_little_overlap_shows(weights_file: Path, rgb: torch.Tensor) -> None:
    """Proves that the test above would see a seam."""
    whole = Upscaler(scale=2, weights=weights_file).up(rgb)
    tiled = Upscaler(scale=2, weights=weights_file, tile=16, overlap=1).up(rgb)
    assert (tiled - whole).abs().max() > 1e-4


def test_a_final_size_is_reached_in_rgb(weights_file: Path) -> None:
    """The chroma of the result is made at its own size, not shrunk from a larger one's."""
    upscaler, size = Upscaler(scale=2, weights=weights_file), FinalSize(width=40, height=31)
    source = frames(2)
    format = YUV420P10.resolved(29, 23)
    for frame, got in zip(source, upscaler.stream(source, YUV420P10, size=size), strict=True):
        planes = [torch.from_numpy(p)[None] for p in frame]
        rgb = size.apply(upscaler.up(to_rgb(planes, format)).clamp(0, 1))
        assert [p.shape for p in got] == YUV420P10.plane_shapes(40, 31)
        for expected, plane in zip(from_rgb(rgb, format), got, strict=True):
            np.testing.assert_array_equal(expected[0].numpy(), plane)


def test_out_format_changes_depth_and_sampling(weights_file: Path) -> None:
    target = FrameFormat(family="rgb", bits=8)
    planes = [torch.from_numpy(p)[None] for p in frames(1)[0]]
    upscaler = Upscaler(scale=2, weights=weights_file)
    out = upscaler.up_planes(planes, YUV420P10, out_format=target)
    assert [(tuple(p.shape), p.dtype) for p in out] == [((1, 46, 58), torch.uint8)] * 3


@pytest.mark.parametrize("headroom", [False, True])
def test_headroom_survives_the_network(headroom: bool) -> None:
    """In all formats of a run, whatever ``out_format`` says itself."""
    format = FrameFormat(family="gray", headroom=headroom)
    luma = torch.tensor([3, 250], dtype=torch.uint8).repeat_interleave(32).expand(1, 32, 64)
    deep = FrameFormat(family="gray", bits=10)
    out = Upscaler(scale=2, device="cpu").up_planes([luma], format, out_format=deep)[0]
    flat = out[0, 16, [16, -16]] / 4
    wanted = torch.tensor([3.0, 250.0] if headroom else [16.0, 235.0])
    torch.testing.assert_close(flat, wanted, rtol=0, atol=1)


def test_wrong_planes_are_named(weights_file: Path) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file)
    planes = [torch.from_numpy(p)[None] for p in frames(1)[0]]
    with pytest.raises(FormatError, match="planes"):
        upscaler.up_planes(planes[:2], YUV420P10)
    with pytest.raises(FormatError, match=r"planes: tensors .* are accepted, got ndarray"):
        upscaler.up_planes([p.numpy() for p in planes], YUV420P10)  # type: ignore[misc]
    with pytest.raises(FormatError, match=r"torch\.uint8"):
        upscaler.up_planes([p.to(torch.uint8) for p in planes], YUV420P10)


@pytest.mark.parametrize("failures", [1, 3])
def test_out_of_memory_halves_and_goes_on(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    rgb = torch.rand(3, 3, 90, 80, generator=torch.Generator().manual_seed(6))
    upscaler = Upscaler(scale=2, weights=weights_file, backend="reference", batch_size=3)
    expected = upscaler.up(rgb)
    areas: list[int] = []
    real = reference.run_unshuffled

    def limited(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        areas.append(len(x) * x.shape[2] * x.shape[3])
        if len(areas) <= failures:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(weights, x)

    monkeypatch.setattr(reference, "run_unshuffled", limited)
    torch.testing.assert_close(upscaler.up(rgb), expected, rtol=0, atol=1e-5)
    assert areas[failures] <= areas[0] // 2


def test_no_room_at_all_is_one_sentence(
    weights_file: Path, rgb: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(reference, "run_unshuffled", full)
    for tile in (0, 32):
        with pytest.raises(OutOfMemoryError, match="no room"):
            Upscaler(scale=2, weights=weights_file, backend="reference", tile=tile).up(rgb)


def test_a_shortage_of_one_picture_is_not_that_of_the_next(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be halved for a small one, and little is enough for a strip."""
    upscaler, real = Upscaler(scale=2, weights=weights_file, backend="reference"), []
    real.append(reference.run_unshuffled)

    def once(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(reference, "run_unshuffled", real[0])
        raise RuntimeError("not enough memory: you tried to allocate 1 byte")

    limits, sizes = upscaler.limits, [(32, 32), (300, 5), (70, 90)]
    expected = {size: upscaler.up(torch.full((1, 3, *size), 0.5)) for size in sizes}
    monkeypatch.setattr(reference, "run_unshuffled", once)
    with pytest.raises(OutOfMemoryError, match="has no room for a tile of 16 pixels"):
        upscaler.up(torch.zeros(1, 3, 32, 32))
    assert upscaler.limits == limits
    monkeypatch.setattr(reference, "run_unshuffled", once)
    for size in ((300, 5), (32, 32), (70, 90)):
        again = upscaler.up(torch.full((1, 3, *size), 0.5))
        torch.testing.assert_close(again, expected[size], rtol=0, atol=1e-5)
    assert upscaler.limits.budget < limits.budget // 2


def test_a_result_without_room_is_one_sentence(weights_file: Path) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu")
    with pytest.raises(OutOfMemoryError, match="no room for the enlarged picture"):
        upscaler.up(torch.zeros(1).expand(1, 3, 2**20, 2**20))


def test_a_shortage_counts_once_and_is_forgotten(weights_file: Path) -> None:
    """Runs that fail at once all had the same limits; another job may have more room."""
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu")
    budget, tried = upscaler.limits.budget, upscaler.bytes_for(640, 640)
    for divisor in (2, 4):
        limits = upscaler.limits
        for _ in range(5):
            upscaler.shrink(1, 640, 640, limits)
        assert upscaler.limits == Limits(tried // divisor, 0)
    upscaler.renew()
    assert upscaler.limits.budget > budget // 2

    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", tile=64)
    for tile in (32, 16):
        limits = upscaler.limits
        for _ in range(5):
            upscaler.shrink(1, 640, 640, limits)
        assert upscaler.limits.tile == tile
    with pytest.raises(OutOfMemoryError, match="no room"):
        upscaler.shrink(1, 640, 640, upscaler.limits)
    upscaler.renew()
    assert upscaler.limits.tile == 64


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_what_is_no_number_stays_where_it_was(weights_file: Path, backend: str) -> None:
    """One such sample would otherwise reach as far as the network does."""
    if backend == "native" and not instruction_sets():
        pytest.skip("the native library was not compiled")
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", backend=backend)
    rgb = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(6))
    rgb[0, 1, 20, 20], expected = torch.nan, rgb.clone()
    expected[0, 1, 20, 20] = 0
    assert torch.equal(upscaler.up(rgb), upscaler.up(expected))
    planar = FrameFormat(family="rgb", bits=32, sample_type="float")
    broken, whole = (upscaler.up_planes(list(x.unbind(1)), planar) for x in (rgb, expected))
    assert all(map(torch.equal, broken, whole))


def test_planes_one_sample_wide(weights_file: Path) -> None:
    """Cut out of interleaved samples they have odd strides, which torch takes for dense."""
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu")
    picture = torch.tensor([[[9, 99, 199]]], dtype=torch.uint8)
    planes = [picture[None, :, :, i] for i in range(3)]
    dense = [plane.clone(memory_format=torch.contiguous_format) for plane in planes]
    format = FrameFormat(family="rgb")
    larger = upscaler.up_planes(planes, format), upscaler.up_planes(dense, format)
    assert all(map(torch.equal, *larger))


def test_planes_to_fill_must_fit(weights_file: Path) -> None:
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu")
    planes, format = [torch.zeros(1, 8, 8, dtype=torch.uint8)] * 3, FrameFormat(family="rgb")
    fitting = [torch.zeros(1, 16, 16, dtype=torch.uint8) for _ in range(3)]
    small = [torch.zeros(1, 2, 2, dtype=torch.uint8) for _ in range(3)]
    for out in (small, fitting[:1], [p.to(torch.uint16) for p in fitting]):
        with pytest.raises(FormatError):
            upscaler.up_planes(planes, format, out=out)
    assert upscaler.up_planes(planes, format, out=fitting)[0] is fitting[0]


def test_other_errors_are_not_taken_for_memory(
    weights_file: Path, rgb: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(reference, "run_unshuffled", broken)
    with pytest.raises(RuntimeError, match="something else"):
        Upscaler(scale=2, weights=weights_file, backend="reference").up(rgb)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 35), ("fp16", 55)])
def test_lower_precisions_agree(
    weights_file: Path, rgb: torch.Tensor, precision: str, least: float
) -> None:
    single = Upscaler(scale=2, weights=weights_file, precision="fp32").up(rgb)
    lower = Upscaler(scale=2, weights=weights_file, precision=precision).up(rgb)
    assert -10 * (lower - single).square().mean().log10() > least


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, "scale: 2, 3 or 4 is accepted, got 5"),
        ({"scale": 2.0}, "scale: 2, 3 or 4 is accepted, got 2.0"),
        ({"weights": 3}, "weights: a path is accepted, got 3"),
        ({"device": None}, "device: auto, cpu, cuda or cuda:N is accepted, got None"),
        ({"device": "cpu:3"}, "device: auto, cpu, .* got 'cpu:3'"),
        ({"tile": -1}, "tile: an integer from 0 is accepted, got -1"),
        ({"batch_size": 1.5}, "batch_size: .* got 1.5"),
        ({"num_streams": 0}, "num_streams: an integer from 1"),
        ({"device": "tpu"}, "device: auto, cpu, cuda or cuda:N is accepted, got 'tpu'"),
        ({"device": "cuda:99"}, "device: cuda:99 is not here"),
        ({"precision": "int8"}, "precision: auto, fp32, bf16 or fp16 is accepted, got 'int8'"),
        ({"backend": "abacus"}, "backend: auto, .* or reference is accepted, got 'abacus'"),
        ({"model": "nothing"}, "model: one of .* got 'nothing'"),
    ],
)
def test_arguments_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises((ArgumentError, WeightsError), match=message):
        Upscaler(**arguments)


@pytest.mark.parametrize(
    "rgb",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 4, 8, 8),
        torch.zeros(1, 3, 0, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_up_names_a_wrong_tensor(weights_file: Path, rgb: torch.Tensor) -> None:
    with pytest.raises(ArgumentError, match=r"rgb: a float tensor \(N, 3, H, W\) is accepted"):
        Upscaler(scale=2, weights=weights_file).up(rgb)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (
            torch.zeros(1, 8, 8, dtype=torch.uint8),
            r"planes: a list of tensors .*a tensor \(1, 8, 8\)",
        ),
        ([torch.zeros(1, 8, 8, dtype=torch.uint8, device="meta")], "planes: dense tensors with"),
        ([torch.zeros(1, 8, 8, dtype=torch.uint8).to_sparse()], "planes: dense tensors with"),
    ],
)
def test_planes_want_data_in_a_list(weights_file: Path, planes: Any, message: str) -> None:
    upscaler, gray = Upscaler(scale=2, weights=weights_file), FrameFormat(family="gray")
    with pytest.raises(FormatError, match=message):
        upscaler.up_planes(planes, gray)


def test_formats_and_sizes_are_told_by_name(weights_file: Path) -> None:
    upscaler, gray = Upscaler(scale=2, weights=weights_file), FrameFormat(family="gray")
    planes, frame = [torch.zeros(1, 8, 8, dtype=torch.uint8)], [np.zeros((8, 8), np.uint8)]
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ("gray", {}, "format: a FrameFormat is accepted, got 'gray'"),
        (gray, {"out_format": "gray"}, "out_format: a FrameFormat or None is accepted, got 'gray'"),
        (gray, {"size": (5, 5)}, r"size: a FinalSize or None is accepted, got \(5, 5\)"),
    ]
    for format, options, message in wrong:
        with pytest.raises(FormatError, match=message):
            upscaler.up_planes(planes, format, **options)
        with pytest.raises(FormatError, match=message):
            list(upscaler.stream([frame], format, **options))


@pytest.mark.parametrize(
    "rgb",
    [torch.zeros(1, 3, 8, 8, device="meta"), torch.zeros(1, 3, 8, 8).to_sparse()],
    ids=["meta", "sparse"],
)
def test_up_wants_data(weights_file: Path, rgb: torch.Tensor) -> None:
    with pytest.raises(ArgumentError, match="rgb: a dense tensor with data is accepted, got torch"):
        Upscaler(scale=2, weights=weights_file).up(rgb)


def test_torchs_default_device_does_not_matter(weights_file: Path) -> None:
    yuv = FrameFormat(family="yuv", subsampling=(1, 1))
    planes = [torch.full((1, *size), 99, dtype=torch.uint8) for size in ((6, 8), (3, 4), (3, 4))]

    def enlarged() -> list[torch.Tensor]:
        for kept in (calibration_pictures, bicubic_weights):
            kept.cache_clear()
        upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", precision="fp16")
        return upscaler.up_planes(planes, yuv)

    expected = enlarged()
    with torch.device("meta"):
        assert all(map(torch.equal, enlarged(), expected))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_cuda_agrees_with_the_cpu(weights_file: Path, precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    source = frames(5)
    least = {"fp32": 0, "fp16": 2, "bf16": 24}[precision] + 1
    cpu = Upscaler(scale=2, weights=weights_file, device="cpu").stream(iter(source), YUV420P10)
    options = {"weights": weights_file, "device": "cuda", "precision": precision}
    gpu = Upscaler(scale=2, batch_size=2, num_streams=2, **options).stream(iter(source), YUV420P10)
    for a, b in zip(cpu, gpu, strict=True):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.astype(int), q.astype(int), atol=least)
