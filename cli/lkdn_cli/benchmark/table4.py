"""The paper's Table 4 on the device at hand: LKDN beside the systems it was compared with."""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from lkdn_cli.benchmark.ways import Way, ready
from lkdn_cli.rivals.bsrn import BSRN
from lkdn_cli.rivals.vapsr import VapSR
from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDN_CONFIGS

__all__ = ["SIZE", "table4_ways"]

#: Width and height of the input: 1280x720 after enlarging four times.
SIZE = 320, 180


def table4_ways(device: torch.device) -> dict[str, Way]:
    """LKDN x4 first, then its rivals, plain modules in float32, untrained; last, this engine."""
    torch.manual_seed(0)
    lkdn = LKDN(LKDN_CONFIGS["lkdn-x4"])
    x = torch.rand(1, 3, SIZE[1], SIZE[0]).to(device)
    networks: dict[str, nn.Module] = {"LKDN": lkdn, "BSRN": BSRN(), "VapSR": VapSR()}
    ways = {name: ready(network.eval().to(device), x) for name, network in networks.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lkdn-x4.safetensors"
        save_file(lkdn.state_dict(), file)
        upscaler = Upscaler(weights=file, scale=4, device=str(device), precision="fp32")
    ways[f"LKDN in this engine ({upscaler.backend})"] = ready(upscaler.up, x)
    return ways
