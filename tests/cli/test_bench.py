"""``lkdn-bench``: what it runs, and what it says about it."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from lkdn_cli import bench
from lkdn_cli.benchmark.peers import peer_ways
from lkdn_cli.benchmark.timing import measure
from lkdn_cli.rivals.bsrn import BSRN
from lkdn_cli.rivals.vapsr import VapSR
from lkdn_core import Upscaler
from lkdn_core.complexity import count_operations

TINY = ["--size", "24x20", "--rounds", "1", "--threads", "1"]


def report(capsys: pytest.CaptureFixture[str], *options: str) -> dict:  # type: ignore[type-arg]
    """What ``lkdn-bench --json`` prints."""
    assert bench.main([*options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_each_round_but_the_first_runs_a_way_twice_and_times_it_once() -> None:
    calls: list[str] = []
    timings = measure(
        {"a": lambda: calls.append("a"), "b": lambda: sum(range(2_000_000))}, rounds=3
    )
    assert calls == ["a"] * 7
    assert 0 <= timings["a"].cpu < timings["b"].cpu


def test_all_backends_are_measured_on_one_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    drawing = tmp_path / "ways.png"
    found = report(capsys, *TINY, "--precision", "fp32", "bf16", "--plot", str(drawing))
    rows = {row["name"]: row for row in found["ways"]["rows"]}
    assert {"plain modules, fp32", "LKDN suite, reference, bf16"} <= set(rows)
    assert rows["LKDN suite, reference, fp32"]["agreement"] > 110
    assert 30 < rows["LKDN suite, reference, bf16"]["agreement"] < 110
    assert rows["plain modules, fp32"]["agreement"] is None  # with itself
    for row in rows.values():
        spent = row["seconds_per_megapixel"] * 48 * 40 / 1e6
        assert spent == pytest.approx(row["cpu_seconds"])
    shares = {name: row["peak_share"] * row["cpu_seconds"] for name, row in rows.items()}
    assert len({f"{share:.6g}" for share in shares.values()}) == 1 and min(shares.values()) > 0
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0] and found["device"]
    assert drawing.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--sweep", "18", "180", "--backend", "reference", "--threads", "1")
    small, large = found["sweep"]
    assert [(r["width"], r["height"]) for r in (small, large)] == [(32, 18), (320, 180)]
    assert small["peak_bytes"] > 50e6
    # 57,600 pixels, several maps of 42 channels of four bytes.
    assert large["peak_bytes"] - small["peak_bytes"] > 57600 * 42 * 4 * 2


def test_tables_are_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([*TINY, "--backend", "reference"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| lkdn-s x2, 24x20 | CPU s |")
    assert {line.count("|") for line in lines[2:]} == {8}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "0x4"], "WIDTHxHEIGHT is accepted"),
        (["--backend", "warp"], "backend: "),
        (["--precision", "int3"], "precision: "),
        (["--model", "nothing"], "nothing"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main([*TINY, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and words in captured.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounds", "0"], "rounds: an integer from 1 is accepted, got 0"),
        (["--threads", "0"], "threads: an integer from 1 to 1024 is accepted, got 0"),
        (["--threads", "-1"], "threads: an integer from 1 to 1024 is accepted, got -1"),
        (["--sweep", "0"], "sweep: an integer from 1 to 16384 is accepted, got 0"),
        (["--sweep", "18", "-4"], "sweep: an integer from 1 to 16384 is accepted, got -4"),
        (["--sweep", "18", "--backend", "auto", "warp"], "got 'warp'"),
        (["--sweep", "18", "--model", "nothing"], "got 'nothing'"),
        (["--sweep", "18", "--rounds", "9"], "rounds: --sweep has its own, got 9"),
        (["--sweep", "--size", "9x9"], "size: --sweep has its own, got (9, 9)"),
        (["--table4", "--peers"], "peers: --table4 has its own, got True"),
    ],
)
def test_nothing_runs_with_wrong_options(
    options: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_ways", "_sweep"):
        monkeypatch.setattr(bench, name, lambda *_: pytest.fail("it runs"))
    assert bench.main(options) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and words in captured.err


def test_rivals_cost_what_the_paper_says() -> None:
    """Table 4: 352 K and 19.4 G, 342 K and 19.5 G; BSRN's authors count biases, VapSR's do not."""
    with torch.device("meta"):
        bsrn, vapsr = BSRN(), VapSR()
    assert sum(p.numel() for p in bsrn.parameters()) == 352_400
    assert sum(p.numel() for p in vapsr.parameters()) == 342_220
    assert round(count_operations(bsrn, 320, 180, bias=True) / 1e9, 1) == 19.4
    assert round(count_operations(vapsr, 320, 180) / 1e9, 1) == 19.5


@pytest.mark.parametrize("network", [BSRN, VapSR])
def test_rivals_enlarge_any_picture(network: type[BSRN | VapSR]) -> None:
    torch.manual_seed(0)
    rival, x = network().eval(), torch.rand(2, 3, 21, 17)
    with torch.inference_mode():
        y = rival(x)
        alone = rival(x[1:])
    assert y.shape == (2, 3, 84, 68) and y.std() > 0
    torch.testing.assert_close(y[1:], alone, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_table4_compares_with_lkdn(capsys: pytest.CaptureFixture[str]) -> None:
    rows = report(capsys, "--table4", "--rounds", "1", "--threads", "1")["table4"]
    assert [row["name"] for row in rows[:3]] == ["LKDN", "BSRN", "VapSR"]
    assert rows[0]["ratio"] == 1 and rows[3]["agreement"] > 100
    assert all(row["cpu_seconds"] > 0 for row in rows)


@pytest.mark.slow
def test_peers_run_the_same_weights(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    x = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    ways = peer_ways(x, tmp_path, model="lkdn-s", scale=2, threads=1, bf16=False)
    packages = {"onnxruntime": "onnxruntime", "OpenVINO": "openvino", "ncnn": "pnnx"}
    for name, package in packages.items():
        there = importlib.util.find_spec(package) is not None
        assert (f"{name}, fp32" in ways) == there
    expected = Upscaler(scale=2, device="cpu", backend="reference").up(x)
    for name in ways:
        torch.testing.assert_close(ways[name](), expected, rtol=0, atol=2e-5, msg=name)
