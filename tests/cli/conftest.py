"""Shared pieces of the command's tests: networks small enough for a video a second."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lkdn_cli import image, video
from lkdn_core.arch import LKDN, LKDNConfig
from tests.cli.media import Command, ImageCommand


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Pictures are so small that threads only get into each other's way."""
    torch.set_num_threads(1)


def nearest_network(scale: int) -> LKDN:
    """A network whose weights make it repeat every pixel ``scale`` times each way."""
    torch.manual_seed(3)
    network = LKDN(LKDNConfig(scale, 8, 1))
    last = network.get_submodule("upsampler.0")
    with torch.no_grad():
        for layer in (network.fea_conv.pw, network.fea_conv.dw, network.c2.dw, last):
            for parameter in layer.parameters():
                parameter.zero_()
        network.fea_conv.dw.weight[:, 0, 1, 1] = 1
        for channel in range(3):
            network.fea_conv.pw.weight[channel, channel] = 1
            outputs = slice(channel * scale**2, (channel + 1) * scale**2)
            last.get_parameter("weight")[outputs, channel, 1, 1] = 1
    return network


@pytest.fixture(scope="session")
def nearest(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Weights files of `nearest_network`, by scale."""
    folder = tmp_path_factory.mktemp("weights")
    files = {scale: folder / f"nearest-x{scale}.safetensors" for scale in (2, 3)}
    for scale, file in files.items():
        save_file(nearest_network(scale).state_dict(), file)
    return files


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small x2 network with random weights, which looks about itself."""
    torch.manual_seed(4)
    file = tmp_path_factory.mktemp("weights") / "untrained-x2.safetensors"
    save_file(LKDN(LKDNConfig(2, 8, 1)).state_dict(), file)
    return file


@pytest.fixture
def lkdn_video(nearest: dict[int, Path]) -> Command:
    """The command as tests call it, see `Command`."""

    def command(source: Path, target: Path, *options: str, scale: int = 2) -> int:
        weights = nearest.get(scale, nearest[2])
        fixed = ["--scale", str(scale), "--weights", str(weights), "--device", "cpu"]
        return video.main([str(source), str(target), *fixed, *options])

    return command


@pytest.fixture
def lkdn_image(nearest: dict[int, Path]) -> ImageCommand:
    """The command with a network that repeats every pixel twice each way."""

    def command(*arguments: object) -> int:
        fixed = ["--scale", "2", "--weights", str(nearest[2]), "--device", "cpu"]
        return image.main([*fixed, *map(str, arguments)])

    return command
