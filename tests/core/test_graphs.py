"""What of CUDA graphs needs no GPU: the bookkeeping, with CUDA's part left out."""

from contextlib import nullcontext
from unittest.mock import MagicMock

import pytest
import torch

from lkdn_core.arch import LKDNConfig
from lkdn_core.backends import choice
from lkdn_core.backends.graphs import Graphs

CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs[torch.Tensor]:
    cuda = "CUDAGraph", "Stream", "Event", "current_stream", "graph_pool_handle", "synchronize"
    for name in cuda:
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    for name in ("device", "graph", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: nullcontext())
    return Graphs(lambda x, _: x * 2, device=CPU, bytes_for=lambda *_: 0)


def test_a_graph_of_inference_mode_runs_outside_of_it(graphs: Graphs[torch.Tensor]) -> None:
    """As where ComfyUI runs a node in that mode, and a film's threads go on without."""
    x = torch.rand(1, 3, 4, 4)
    with torch.inference_mode():
        for _ in range(3):  # warm up, record, replay
            graphs.run(x, torch.empty_like(x).copy_)
    with torch.no_grad():
        graphs.run(x, torch.empty_like(x).copy_)


def test_a_graph_of_the_measurement_runs_later(graphs: Graphs[torch.Tensor]) -> None:
    def network(x: torch.Tensor, out: torch.Tensor) -> None:
        graphs.run(x, lambda y: out[:, :, : y.shape[2], : y.shape[3]].copy_(y))

    network.dtype, network.memory_format = torch.float32, torch.contiguous_format  # type: ignore[attr-defined]
    case = choice._Case({}, LKDNConfig(2, 8, 1), CPU, "fp32")
    choice._seconds({"one": network}, case)  # type: ignore[dict-item]
    side = choice._SIDE["cpu"]
    with torch.no_grad():
        network(torch.rand(1, 3, side, side), torch.empty(1, 3, 2 * side, 2 * side))


def test_released_memory_is_taken_again(graphs: Graphs[torch.Tensor]) -> None:
    graphs._bytes_for = lambda *_: 5
    x, y = torch.rand(1, 3, 4, 4), torch.empty(1, 3, 4, 4)
    for _ in range(2):
        for _ in range(3):
            graphs.run(x, y.copy_)
        assert len(graphs._memory) == 5 and len(graphs._recorded) == 1
        graphs.release()
        assert len(graphs._memory) == len(graphs._recorded) == 0
