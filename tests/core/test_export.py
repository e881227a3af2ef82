"""Exported files run in ONNX Runtime and in torch as the engine runs."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from official import official_file
from safetensors.torch import load_file, save_file

from lkdn_cli.export import main
from lkdn_core import Upscaler
from lkdn_core.calibrate import calibration_pictures
from lkdn_core.errors import ArgumentError
from lkdn_core.export import OPSET, export_onnx, export_program

PRECISIONS = {"fp32": 100.0, "fp16": 55.0}  # least PSNR in dB
ROUNDING = {"fp32": 1e-5, "fp16": 1e-3}  # another memory layout, another order of sums
LARGE = ["LKDN_x2.pth", "LKDN_x3.pth", "LKDN_x4.pth"]
SHAPES = [(1, 3, 23, 17), (3, 3, 9, 31), (1, 3, 1, 1)]


def pictures(*shape: int) -> torch.Tensor:
    """Noise, a little of it outside [0, 1], which the engine clamps."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(6)) * 1.2 - 0.1


def patterns() -> torch.Tensor:
    """What overflows in half precision soonest: noise, stripes, white, and black."""
    stripes = (torch.arange(40) % 2).float().expand(1, 3, 40, 40)
    noise = pictures(1, 3, 40, 40)
    return torch.cat([noise, stripes, stripes.mT, stripes * 0 + 1, stripes * 0])


def session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run_onnx(file: Path, rgb: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(session(file).run(["output"], {"input": rgb.numpy()})[0])


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """In dB for a range of 1; -inf or nan when ``a`` or ``b`` is not finite."""
    assert a.shape == b.shape
    return float(-10 * torch.log10((a - b).double().square().mean() + 1e-30))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_is_the_engine(weights_file: Path, tmp_path: Path, precision: str) -> None:
    file = tmp_path / "net.onnx"
    export_onnx(file, scale=2, weights=weights_file, precision=precision)
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", precision="fp32")
    for shape in SHAPES:
        rgb = pictures(*shape)
        expected, got = upscaler.up(rgb), run_onnx(file, rgb)
        assert psnr(got, expected) > PRECISIONS[precision]
        if precision == "fp32":
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_program_is_the_engine(weights_file: Path, tmp_path: Path, precision: str) -> None:
    file = tmp_path / "net.pt2"
    export_program(file, scale=2, weights=weights_file, precision=precision)
    program = torch.export.load(file)
    upscaler = Upscaler(scale=2, weights=weights_file, device="cpu", precision=precision)
    for shape in SHAPES:
        rgb = pictures(*shape)
        got = program.module()(rgb)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, upscaler.up(rgb), rtol=0, atol=ROUNDING[precision])


@pytest.mark.parametrize(("precision", "inside"), [("fp32", 1), ("fp16", 10)])
def test_the_onnx_file_is_what_vs_mlrt_takes(
    weights_file: Path, tmp_path: Path, precision: str, inside: int
) -> None:
    """One float32 input named ``input``, one output; N, H and W can be set from outside."""
    file = tmp_path / "net.onnx"
    export_onnx(file, scale=2, weights=weights_file, precision=precision)
    (source,), (result,) = session(file).get_inputs(), session(file).get_outputs()
    assert (source.name, source.type) == ("input", "tensor(float)")
    assert source.shape == ["batch", 3, "height", "width"]
    assert (result.name, result.type) == ("output", "tensor(float)")
    assert result.shape == ["batch", 3, "2*height", "2*width"]

    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert {i.data_type for i in model.graph.initializer if i.dims} == {inside}
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_value, dims[3].dim_value = 1, 5, 7
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    sizes = [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, 10, 14]


def test_half_precision_holds_large_attention(weights_file: Path, tmp_path: Path) -> None:
    """Maps far past 65504: folded, with an epsilon of the norm that float16 can't hold."""
    weights = load_file(weights_file)
    for layer in ("c5", "atten.pointwise", "atten.depthwise"):
        weights[f"B1.{layer}.weight"] *= 300
    save_file(weights, weights_file)
    file = tmp_path / "net.onnx"
    export_onnx(file, scale=2, weights=weights_file, precision="fp16")
    (norm,) = [n for n in onnx.load(file).graph.node if n.op_type == "LayerNormalization"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in norm.attribute}
    assert attributes["stash_type"] == onnx.TensorProto.FLOAT
    assert 0 < attributes["epsilon"] < np.finfo(np.float16).smallest_subnormal
    expected = Upscaler(scale=2, weights=weights_file, device="cpu").up(patterns())
    assert psnr(run_onnx(file, patterns()), expected) > PRECISIONS["fp16"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_bundled_network(tmp_path: Path, precision: str) -> None:
    file = tmp_path / "net.onnx"
    export_onnx(file, scale=2, precision=precision)
    expected = Upscaler(scale=2, device="cpu").up(patterns())
    assert psnr(run_onnx(file, patterns()), expected) > PRECISIONS[precision]


@pytest.mark.parametrize(
    "name", ["lkdn-s-x4", *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)]
)
def test_half_precision_on_photographs(tmp_path: Path, name: str) -> None:
    """What float32 gives, to 60 dB, and finite on the patterns above."""
    file, bundled = tmp_path / "net.onnx", name == "lkdn-s-x4"
    scale = int(name.removesuffix(".pth")[-1])
    weights = None if bundled else official_file(name)
    export_onnx(file, scale=scale, weights=weights, precision="fp16")
    pictures = calibration_pictures()[[0, 6], :, :40, :44]
    expected = Upscaler(scale=scale, weights=weights, device="cpu", precision="fp32").up(pictures)
    assert psnr(run_onnx(file, pictures), expected) > 60
    assert run_onnx(file, patterns()).isfinite().all()


def test_precision_is_checked(weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="precision: fp32 or fp16 is accepted, got 'bf16'"):
        export_onnx(tmp_path / "net.onnx", scale=2, weights=weights_file, precision="bf16")


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_the_command(
    weights_file: Path, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"net{ending}"
    arguments = [str(file), "--scale", "2", "--weights", str(weights_file)]
    file.write_bytes(b"mine")
    assert main(arguments) == 2
    assert capfd.readouterr().err.endswith(f"{file} is there already; -y overwrites it\n")
    assert file.read_bytes() == b"mine"
    assert main([*arguments, "-y"]) == 0
    assert capfd.readouterr() == ("", "")
    rgb = pictures(1, 3, 5, 7)
    got = run_onnx(file, rgb) if ending == ".onnx" else torch.export.load(file).module()(rgb)
    assert got.shape == (1, 3, 10, 14)
    assert {p.name for p in tmp_path.iterdir()} == {file.name, weights_file.name}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.pth"], "FILE: a name in .onnx or .pt2 is accepted"),
        (["net"], "FILE: a name in .onnx or .pt2 is accepted"),
        (["net.onnx", "--scale", "4"], "is a x2 network, got 4"),
        (["net.pt2", "--precision", "int8"], "fp32 or fp16 is accepted, got 'int8'"),
    ],
)
def test_usage_errors(
    weights_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    name, *more = arguments
    network = ["--scale", "2", "--weights", str(weights_file)]
    assert main([str(tmp_path / name), *network, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lkdn-export: ")
    assert err.count("\n") == 1
    assert message in err
    assert [p.name for p in tmp_path.iterdir()] == [weights_file.name]


def test_a_failed_export_leaves_nothing(
    weights_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").touch()  # a folder can't be made there
    file = str(tmp_path / "x" / "net.onnx")
    assert main([file, "--scale", "2", "--weights", str(weights_file)]) == 1
    assert capsys.readouterr().err.endswith(f"can't be written: {tmp_path / 'x'} is in the way\n")
    assert {p.name for p in tmp_path.iterdir()} == {"x", weights_file.name}
