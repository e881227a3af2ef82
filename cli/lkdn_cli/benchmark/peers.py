"""Other runtimes on the same weights, through our ONNX export; each where its package is."""

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from lkdn_cli.benchmark.ways import Way
from lkdn_core.export import export_onnx

__all__ = ["peer_ways"]

log = logging.getLogger(__name__)


def peer_ways(
    x: Tensor, folder: Path, *, model: str, scale: int, threads: int, bf16: bool
) -> dict[str, Way]:
    """Every peer that is installed, with ``threads`` threads, on ``x`` (1, 3, H, W) on the CPU.

    Files are written to ``folder``. ``bf16``: the peers that have it run in it too.
    """
    ways: dict[str, Way] = {}
    file = folder / "network.onnx"
    export_onnx(file, scale=scale, model=model)
    makers: list[tuple[str, str, Callable[[], Way]]] = [
        ("onnxruntime", "onnxruntime, fp32", lambda: _onnxruntime(file, x, threads)),
        ("openvino", "OpenVINO, fp32", lambda: _openvino(file, x, threads, "f32")),
        ("ncnn", "ncnn, fp32", lambda: _ncnn(file, x, threads, half=False)),
    ]
    if bf16:
        makers.append(("openvino", "OpenVINO, bf16", lambda: _openvino(file, x, threads, "bf16")))
        makers.append(("ncnn", "ncnn, bf16", lambda: _ncnn(file, x, threads, half=True)))
    for package, name, make in makers:
        if find_spec(package) is None or (package == "ncnn" and find_spec("pnnx") is None):
            log.warning("%s is not installed: pip install %s", name.split(",")[0], package)
        else:
            ways[name] = make()
    return ways


def _onnxruntime(file: Path, x: Tensor, threads: int) -> Way:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    inputs = {"input": x.numpy()}
    return lambda: torch.from_numpy(session.run(None, inputs)[0])


def _openvino(file: Path, x: Tensor, threads: int, precision: str) -> Way:
    import openvino

    core = openvino.Core()
    network = core.read_model(file)
    network.reshape(list(x.shape))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(network, "CPU", settings)
    inputs = [x.numpy()]
    return lambda: torch.from_numpy(compiled(inputs)[0].copy())


def _ncnn(file: Path, x: Tensor, threads: int, *, half: bool) -> Way:
    import ncnn

    param, weights = file.with_suffix(".ncnn.param"), file.with_suffix(".ncnn.bin")
    if not param.exists():
        shape = ",".join(str(n) for n in x.shape)
        # Its program comes with the package; fp16=0 keeps the weights as they are.
        command = [_pnnx(), str(file), f"inputshape=[{shape}]", "fp16=0"]
        subprocess.run(command, cwd=file.parent, check=True, capture_output=True)
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = half
    network.load_param(str(param))
    network.load_model(str(weights))

    def run() -> Tensor:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0].numpy()).clone())
        _, out = extractor.extract("out0")
        return torch.from_numpy(out.numpy().copy())[None]

    return run


def _pnnx() -> str:
    import pnnx

    found = getattr(pnnx, "EXEC_PATH", None)
    return str(found or Path(sys.executable).with_name("pnnx"))
