"""The network as a file for other runtimes: ONNX for vs-mlrt and the like, ``.pt2`` for torch.

Both files take ``input`` and give ``output``: RGB (N, 3, H, W) to (N, 3, sH, sW), float32 in NCHW,
N, H and W free. The input is clamped to [0, 1]; the output is not clamped, as with ``Upscaler``.

ONNX is opset 17 (IR version 8), the oldest with LayerNormalization: vs-mlrt's ``ort`` and ``ov``
read it. With ``precision="fp16"`` the convolutions are float16, their ranges folded
(``fuse.fold_range``). Input and output stay float32, which ``ov`` insists on, and so do the sums in
LayerNormalization (``stash_type`` 1), whose folded epsilon can be below what float16 holds.
"""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.fx.node import map_arg

from lkdn_core import __version__
from lkdn_core.checks import choose
from lkdn_core.errors import LKDNError
from lkdn_core.fuse import Weights
from lkdn_core.models import DEFAULT_MODEL, load_model
from lkdn_core.network import run_network
from lkdn_core.prepare import prepare

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OPSET", "export_onnx", "export_program"]

#: Version of ONNX's standard operators the files are written in.
OPSET: Final = 17
IR_VERSION: Final = 8
PRECISIONS: Final = ("fp32", "fp16")
#: An ONNX operation: operator, inputs, output, attributes.
Operation = tuple[str, list[str], str, dict[str, Any]]
#: From the output's name and a torch operation's arguments by name.
Translation = Callable[[str, dict[str, Any]], list[Operation]]


class _Fixed(nn.Module):
    """``run_network`` on fixed weights (of ``prepare``), float32 outside, their dtype inside."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.epsilons = {k: v for k, v in weights.items() if k.endswith(".eps")}
        self.names = {k: k.replace(".", "_") for k in weights if k not in self.epsilons}
        for key, name in self.names.items():
            self.register_buffer(name, weights[key].contiguous())  # as files hold them

    def forward(self, rgb: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 3, sH, sW)
        weights = {key: self.get_buffer(name) for key, name in self.names.items()}
        x = _like(weights["head.weight"], rgb.clamp(0, 1))
        return _like(rgb, run_network(weights | self.epsilons, x))


def _like(other: Tensor, x: Tensor) -> Tensor:
    """``x`` in the dtype of ``other``; unlike ``to``, its trace names no device."""
    return x if x.dtype == other.dtype else x.type_as(other)


def export_onnx(
    file: str | Path,
    *,
    scale: int = 4,
    model: str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    denoise: float | None = None,
    precision: str = "fp32",
) -> None:
    """Write a network of ``load_model`` as ONNX to ``file``, replacing it; see the module.

    ``precision``: ``"fp32"`` or ``"fp16"``. Raises ``ArgumentError``, ``WeightsError``,
    ``DownloadError``, and ``LKDNError`` without the ``onnx`` package.
    """
    program = _program(scale, model, weights, denoise, precision)
    Path(file).write_bytes(_to_onnx(program, scale).SerializeToString())


def export_program(
    file: str | Path,
    *,
    scale: int = 4,
    model: str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    denoise: float | None = None,
    precision: str = "fp32",
) -> None:
    """Write a network of ``load_model`` for ``torch.export.load`` to ``file``, replacing it.

    ``.module()`` of what is loaded takes and gives what the ONNX file does; ``.to(device)`` moves
    it. ``precision``: ``"fp32"`` or ``"fp16"``. Raises as ``export_onnx`` does.
    """
    program = _program(scale, model, weights, denoise, precision)
    memory = BytesIO()  # torch's own writer aborts the process where a disk is full
    torch.export.save(program, memory)
    Path(file).write_bytes(memory.getvalue())


def _program(
    scale: int, model: str, weights: str | Path | None, denoise: float | None, precision: str
) -> ExportedProgram:
    choose("precision", precision, PRECISIONS)
    trained, _ = load_model(model, scale, weights=weights, denoise=denoise)
    network = _Fixed(prepare(trained, device=torch.device("cpu"), precision=precision)).eval()
    example = torch.zeros(2, 3, 16, 24, dtype=torch.float32, device="cpu")
    free = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    return torch.export.export(network, (example,), dynamic_shapes=(free,), strict=False)


def _to_onnx(program: ExportedProgram, scale: int) -> "ModelProto":
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise LKDNError("the onnx package is missing: pip install onnx") from error

    operations, tensors = _translate(program)
    small: list[str | int | None] = ["batch", 3, "height", "width"]
    large: list[str | int | None] = ["batch", 3, f"{scale}*height", f"{scale}*width"]
    graph = helper.make_graph(
        [helper.make_node(op, ins, [out], name=out, **more) for op, ins, out, more in operations],
        "LKDN",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, small)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, large)],
        [numpy_helper.from_array(v.numpy(), k) for k, v in tensors.items()],
    )
    return helper.make_model(
        graph,
        producer_name="lkdn-suite",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _translate(program: ExportedProgram) -> tuple[list[Operation], dict[str, Tensor]]:
    """``run_network``'s own trace, one torch operation after the other, and its tensors by name.

    torch's ONNX exporter would do; this needs no more than ``onnx``, has the opset it wants, and
    writes the GELU in the form that ONNX Runtime recognises and runs as one operation.
    """
    signature = program.graph_signature
    tensors = dict(program.state_dict)
    inside = tensors["head_weight"].dtype
    single = partial(torch.tensor, dtype=torch.float32, device="cpu")
    tensors |= {"black": single(0.0), "white": single(1.0)}
    tensors |= {k: single(v).to(inside) for k, v in _GELU_CONSTANTS.items()}
    names = dict(signature.inputs_to_buffers) | dict.fromkeys(signature.user_inputs, "input")
    names |= dict.fromkeys(signature.user_outputs, "output")
    operations = []
    for node in program.graph.nodes:
        if node.op == "call_function":
            name = names.get(node.name, node.name)
            operations += _TRANSLATIONS[node.target](name, _arguments(node, names))
    return operations, tensors


def _arguments(node: fx.Node, names: dict[Any, str]) -> dict[str, Any]:
    """All arguments by name, tensors by the name they have in the file; and the result's dtype."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((a.name for a in schema), node.args, strict=False)) | node.kwargs
    filled = {a.name: given.get(a.name, a.default_value) for a in schema}
    filled = map_arg(filled, lambda other: names.get(other.name, other.name))
    return filled | {"out_dtype": node.meta["val"].dtype}


def _clamp(name: str, a: dict[str, Any]) -> list[Operation]:
    return [("Clip", [a["self"], "black", "white"], name, {})]


def _cast(name: str, a: dict[str, Any]) -> list[Operation]:
    return [("Cast", [a["self"]], name, {"to": _ONNX_TYPES[a["out_dtype"]]})]


def _conv(name: str, a: dict[str, Any]) -> list[Operation]:
    inputs = [a[k] for k in ("input", "weight", "bias") if a[k]]
    sides = {"strides": a["stride"], "pads": a["padding"] * 2, "dilations": a["dilation"]}
    return [("Conv", inputs, name, sides | {"group": a["groups"]})]


def _gelu(name: str, a: dict[str, Any]) -> list[Operation]:
    x, (t, e, p, q) = a["self"], (f"{name}/{i}" for i in range(4))
    return [
        ("Div", [x, "sqrt_two"], t, {}),
        ("Erf", [t], e, {}),
        ("Add", [e, "one"], p, {}),
        ("Mul", [x, p], q, {}),
        ("Mul", [q, "half"], name, {}),
    ]


def _layer_norm(name: str, a: dict[str, Any]) -> list[Operation]:
    attributes = {"axis": -1, "epsilon": a["eps"], "stash_type": _ONNX_TYPES[torch.float32]}
    return [("LayerNormalization", [a["input"], a["weight"], a["bias"]], name, attributes)]


def _cat(name: str, a: dict[str, Any]) -> list[Operation]:
    return [("Concat", a["tensors"], name, {"axis": a["dim"]})]


def _permute(name: str, a: dict[str, Any]) -> list[Operation]:
    return [("Transpose", [a["self"]], name, {"perm": a["dims"]})]


def _pixel_shuffle(name: str, a: dict[str, Any]) -> list[Operation]:
    attributes = {"blocksize": a["upscale_factor"], "mode": "CRD"}
    return [("DepthToSpace", [a["self"]], name, attributes)]


def _pair(operator: str) -> Translation:
    return lambda name, a: [(operator, [a["self"], a["other"]], name, {})]


_GELU_CONSTANTS: Final = {"one": 1.0, "half": 0.5, "sqrt_two": 2**0.5}
#: ``onnx.TensorProto.DataType``.
_ONNX_TYPES: Final = {torch.float32: 1, torch.float16: 10}
_aten = torch.ops.aten
_TRANSLATIONS: Final[dict[object, Translation]] = {
    _aten.clamp.default: _clamp,
    _aten.type_as.default: _cast,
    _aten.conv2d.default: _conv,
    _aten.gelu.default: _gelu,
    _aten.layer_norm.default: _layer_norm,
    _aten.cat.default: _cat,
    _aten.permute.default: _permute,
    _aten.pixel_shuffle.default: _pixel_shuffle,
    _aten.add.Tensor: _pair("Add"),
    _aten.mul.Tensor: _pair("Mul"),
}
