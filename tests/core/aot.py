"""Kernels compiled for a GPU that is not here, and what they take of it."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lkdn_core.kernels.launch import Launch

TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.uint8: "u8",
    torch.uint16: "u16",
}
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Resources(NamedTuple):
    """Of one thread; ``stack`` holds what spilled, in bytes, ``shared`` is the block's."""

    registers: int
    stack: int
    shared: int
    code: str


def resources(launch: Launch, capability: int, folder: Path) -> Resources:
    """Compile ``launch`` for ``capability`` (90 is 9.0), as running it there would."""
    signature, constants, attributes = {}, {}, {}
    for i, parameter in enumerate(launch.kernel.params):
        name = parameter.name
        if name in launch.constants:
            signature[name], constants[(i,)] = "constexpr", launch.constants[name]
        elif isinstance(value := launch.arguments[name], Tensor):
            signature[name] = "*" + TYPES[value.dtype]
            if not parameter.do_not_specialize:
                attributes[(i,)] = [["tt.divisibility", 16]]
        elif value == 1 and not parameter.do_not_specialize:
            signature[name], constants[(i,)] = "constexpr", 1
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
    source = ASTSource(launch.kernel, signature, constants, attributes)
    target = GPUTarget("cuda", capability, 32)
    options = {"num_warps": launch.num_warps, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=target, options=options)
    file = folder / f"{launch.kernel.__name__}-{capability}.cubin"
    file.write_bytes(compiled.asm["cubin"])
    usage = subprocess.check_output([CUOBJDUMP, "--dump-resource-usage", file], text=True)
    registers, stack = (int(re.search(f"{key}:(\\d+)", usage)[1]) for key in ("REG", "STACK"))
    code = subprocess.check_output([CUOBJDUMP, "--dump-sass", file], text=True)
    return Resources(registers, stack, compiled.metadata.shared, code)
