"""The bench that judges enlarged video, on tiny clips."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.clips import Clip, make_clip

BENCH = Path(__file__).parents[2] / "bench" / "video_quality.py"


def test_figures_fall_with_the_distance() -> None:
    compare = runpy.run_path(str(BENCH))["compare"]
    torch.manual_seed(0)
    original = torch.rand(3, 3, 9, 12).repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.8 + 0.1
    figures = [
        compare(original, list(original + torch.randn_like(original) * sigma))
        for sigma in (0.001, 0.02, 0.1)
    ]
    for name in ("psnr", "ssim", "vmaf"):
        best, middle, worst = (f[name] for f in figures)
        assert best > middle > worst
    assert figures[0]["ssim"] > 0.999
    assert figures[0]["vmaf"] > 90


@pytest.mark.slow
def test_the_table_has_every_method_and_rate(
    tmp_path: Path,
    untrained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_clip(tmp_path / "clip.mp4", Clip(size=(98, 82)))
    arguments = [str(tmp_path / "clip.mp4"), "--crf", "10", "40", "--models", str(untrained)]
    monkeypatch.setattr(sys, "argv", ["video_quality.py", *arguments])
    runpy.run_path(str(BENCH), run_name="__main__")
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert table[0].endswith("| crf 10 | crf 40 |")
    assert [line.split(" | ")[0] for line in table[2:]] == [
        "| bicubic",
        "| Lanczos",
        "| untrained-x2",
        "| none named",
    ]
    fine, coarse = (float(cell.split(" / ")[0]) for cell in table[2].split("|")[2:4])
    assert fine > coarse
