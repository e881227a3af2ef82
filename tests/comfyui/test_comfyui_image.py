"""Every IMAGE a graph can hold, against the engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lkdn_comfyui.image import upscale_images
from lkdn_core import Upscaler
from lkdn_core.backends import reference
from lkdn_core.errors import ArgumentError, OutOfMemoryError

CPU = torch.device("cpu")


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values from -0.2 to 1.2 of shape (B, H, W, C)."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(6))
    return (x * 1.4 - 0.2).to(dtype)


def enlarge(images: Tensor, upscaler: Upscaler, **options: Any) -> Tensor:
    """`upscale_images` to float32 on the CPU."""
    fixed: dict[str, Any] = {"alpha": "upscale", "device": CPU, "dtype": torch.float32}
    ignore: Callable[[float], None] = lambda share: None  # noqa: E731
    return upscale_images(images, upscaler, **{**fixed, "progress": ignore, **options})


def expected(images: Tensor, upscaler: Upscaler) -> Tensor:
    """RGB (B, H, W, 3) by the engine alone."""
    return upscaler.up(images.movedim(-1, 1)).clamp(0, 1).movedim(1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rgb_is_what_the_engine_gives(upscaler: Upscaler, dtype: torch.dtype) -> None:
    images = pictures(5, 7, 9, 3, dtype=dtype)
    out = enlarge(images, upscaler)
    assert out.dtype == torch.float32
    assert out.min() >= 0 and out.max() <= 1
    assert torch.equal(out, expected(images, upscaler))


def test_output_dtype_is_the_one_asked_for(upscaler: Upscaler) -> None:
    images = pictures(2, 5, 4, 3)
    half = enlarge(images, upscaler, dtype=torch.float16)
    assert torch.equal(half, expected(images, upscaler).half())


def test_empty_batch(upscaler: Upscaler) -> None:
    assert enlarge(pictures(0, 5, 4, 3), upscaler).shape == (0, 10, 8, 3)
    assert enlarge(pictures(0, 5, 4, 4), upscaler, alpha="drop").shape == (0, 10, 8, 3)


@pytest.mark.parametrize(("channels", "passes"), [(1, 1), (2, 2), (3, 1), (4, 2)])
def test_progress_is_told_within_a_picture(channels: int, passes: int) -> None:
    upscaler, seen = Upscaler(scale=2, tile=8), list[float]()
    enlarge(pictures(2, 20, 20, channels), upscaler, progress=seen.append)
    assert len(seen) > 2 * 9 * passes
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1
    assert {k / (2 * passes) for k in range(2 * passes)} <= set(seen)


def test_what_no_memory_holds_is_told_in_words(upscaler: Upscaler) -> None:
    images = torch.zeros(1, 1, 1, 3).expand(4000, 30000, 30000, 3)
    with pytest.raises(OutOfMemoryError, match=r"4000 pictures of 60000x60000 take .* GiB, which "):
        enlarge(images, upscaler)


def test_long_batch_goes_in_parts(upscaler: Upscaler) -> None:
    images, seen = pictures(200, 3, 2, 3), list[float]()
    out = enlarge(images, upscaler, progress=seen.append)
    assert seen == [*(count / 200 for count in range(0, 200, 3)), 1]
    assert torch.equal(out, expected(images, upscaler))


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_stays_gray(upscaler: Upscaler, channels: int) -> None:
    images = pictures(2, 6, 5, channels)
    images[..., 1:].clamp_(min=0.1)  # all of it is seen
    out = enlarge(images, upscaler)
    assert out.shape == (2, 12, 10, channels)
    luma = torch.tensor([0.2126, 0.7152, 0.0722])  # BT.709
    for channel in range(channels):
        rgb = images[..., channel : channel + 1].expand(-1, -1, -1, 3)
        gray = expected(rgb, upscaler) @ luma
        if channel == 1:
            gray = held(gray, images[..., 1])
        torch.testing.assert_close(out[..., channel], gray, rtol=0, atol=2e-6)


def held(new: Tensor, alpha: Tensor) -> Tensor:
    """Alpha (N, 2H, 2W) clipped to what 3x3 pixels around have in ``alpha`` (N, H, W)."""
    padded = torch.nn.functional.pad(alpha.clamp(0, 1), (1, 1, 1, 1), "replicate")
    windows = padded.unfold(1, 3, 1).unfold(2, 3, 1)
    least, most = (
        limit.repeat_interleave(2, 1).repeat_interleave(2, 2)
        for limit in (windows.amin((3, 4)), windows.amax((3, 4)))
    )
    return torch.minimum(torch.maximum(new, least), most)


def test_alpha_is_enlarged_or_dropped(upscaler: Upscaler) -> None:
    images = pictures(2, 6, 5, 4)
    images[..., 3].clamp_(min=0.1)  # all colours are seen
    rgb, alpha = expected(images[..., :3], upscaler), enlarge(images[..., 3:], upscaler)
    kept = held(alpha[..., 0], images[..., 3])[..., None]
    assert torch.equal(enlarge(images, upscaler), torch.cat([rgb, kept], -1))
    assert torch.equal(enlarge(images, upscaler, alpha="drop"), rgb)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_colours_do_not_reach_visible_ones(
    upscaler: Upscaler, channels: int, dtype: torch.dtype
) -> None:
    images = pictures(2, 16, 12, channels).to(dtype)
    images[..., -1] = 0
    images[:, 4:9, 3:, -1] = 1
    plain = images.clone()
    plain[..., :-1] = 0.75
    images[:, 4:9, 3:, :-1] = 0.75
    ours, wanted = enlarge(images, upscaler), enlarge(plain, upscaler)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4)
    dropped = enlarge(images, upscaler, alpha="drop")
    assert torch.equal(dropped, enlarge(images[..., :-1], upscaler))


@pytest.mark.parametrize("channels", [2, 4])
def test_what_is_opaque_or_transparent_stays_so(upscaler: Upscaler, channels: int) -> None:
    images = pictures(3, 16, 12, channels)
    images[..., -1] = torch.tensor([1, 0, torch.nan])[:, None, None]
    images[0, :5, :, -1] = 0
    alpha = enlarge(images, upscaler)[..., -1]
    assert (alpha[0, 12:] == 1).all() and not alpha[0, :8].any() and not alpha[1:].any()


def test_strides_do_not_matter(upscaler: Upscaler) -> None:
    plain = pictures(2, 6, 8, 4)
    views = [
        plain.movedim(-1, 1).contiguous().movedim(1, -1),
        torch.cat([plain, plain], 2)[:, :, 8:],
        plain.flip(0).flip(0),
        plain[:1].expand(3, -1, -1, -1),
    ]
    for view in views:
        whole = view.clone(memory_format=torch.contiguous_format)
        assert torch.equal(enlarge(view, upscaler), enlarge(whole, upscaler))


def test_interrupt_ends_the_work_within_a_batch(upscaler: Upscaler) -> None:
    class Stop(BaseException):
        pass

    seen = []

    def progress(share: float) -> None:
        seen.append(round(50 * share))
        if share >= 0.12:
            raise Stop

    with pytest.raises(Stop):
        enlarge(pictures(50, 3, 3, 3), upscaler, progress=progress)
    assert seen == [0, 3, 6]


def test_out_of_memory_halves_the_batch(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = Upscaler(scale=2, weights=tiny_file, backend="reference", batch_size=3)
    images = pictures(6, 8, 8, 4)
    plenty = enlarge(images, upscaler)
    run, sizes = reference.run_unshuffled, list[int]()

    def limited(weights: Any, x: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > 1:
            raise torch.cuda.OutOfMemoryError("out of memory, on purpose")
        return run(weights, x)

    monkeypatch.setattr(reference, "run_unshuffled", limited)
    # Batches of another size round differently in the last place.
    torch.testing.assert_close(enlarge(images, upscaler), plenty, rtol=0, atol=2e-6)
    assert sizes[:2] == [3, 1] and 2 not in sizes[1:]


def test_no_room_for_the_pictures_halves_the_batch(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, sizes = pictures(7, 8, 8, 3), list[int]()
    plenty, up = enlarge(images, upscaler), Upscaler.up

    def limited(self: Upscaler, rgb: Tensor, **options: Any) -> Tensor:
        sizes.append(len(rgb))
        if len(rgb) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return up(self, rgb, **options)

    monkeypatch.setattr(Upscaler, "up", limited)
    torch.testing.assert_close(enlarge(images, upscaler), plenty, rtol=0, atol=2e-6)
    assert sizes == [3, *[1] * 7]


def test_other_errors_and_a_single_picture_without_room_are_told(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("no kernel")):

        def failing(*_: object, error: RuntimeError = error, **__: object) -> Tensor:
            raise error

        monkeypatch.setattr(Upscaler, "up", failing)
        with pytest.raises(RuntimeError, match=str(error)):
            enlarge(pictures(2, 4, 4, 3), upscaler)


@pytest.mark.parametrize(
    ("images", "alpha", "words"),
    [
        (torch.zeros(3, 4, 3), "upscale", "image: "),
        (torch.zeros(1, 0, 4, 3), "upscale", "(1, 0, 4, 3)"),
        (torch.zeros(1, 4, 4, 5), "upscale", "1 to 4"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), "upscale", "uint8"),
        (torch.zeros(1, 4, 4, 3), "keep", "alpha: "),
    ],
)
def test_bad_input_is_named(upscaler: Upscaler, images: Tensor, alpha: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        enlarge(images, upscaler, alpha=alpha)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cuda_in_and_out(tiny: Any, device: str) -> None:
    from lkdn_comfyui.models import EngineOptions, engine_for

    upscaler = engine_for(tiny, EngineOptions(device="cuda", precision="fp32"))
    images, target = pictures(3, 9, 7, 4), torch.device(device)
    out = enlarge(images.cuda(), upscaler, device=target)
    assert out.device.type == device
    on_cpu = engine_for(tiny, EngineOptions(device="cpu"))
    torch.testing.assert_close(out.cpu(), enlarge(images, on_cpu), rtol=0, atol=2e-3)
