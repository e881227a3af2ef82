"""What tests compare against: the authors' checkpoints and the benchmark pictures."""

from pathlib import Path

import pytest

from lkdn_core.arch import LKDNConfig

SHARED = Path(__file__).resolve().parents[3] / "shared"
OFFICIAL = {
    "LKDN_x2.pth": LKDNConfig(2),
    "LKDN_x3.pth": LKDNConfig(3),
    "LKDN_x4.pth": LKDNConfig(4),
    "LKDN-S_x4.pth": LKDNConfig(4, 42, 5, "rbsb", "rep"),
    "LKDN-S_del_rep_x4.pth": LKDNConfig(4, 42, 5),
}


def official_file(name: str) -> Path:
    file = SHARED / "weights_official" / name
    if not file.exists():
        pytest.skip("needs the authors' checkpoints in ../shared/weights_official")
    return file


def eval_folder(name: str) -> Path:
    folder = SHARED / "eval" / name
    if not folder.exists():
        pytest.skip("needs the benchmark pictures in ../shared/eval")
    return folder
