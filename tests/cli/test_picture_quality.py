"""The bench that judges enlarged pictures, on a tiny one."""

import runpy
import sys
from pathlib import Path
from typing import Final

import av
import pytest

ROOT: Final = Path(__file__).parents[2]


def test_the_table_has_every_network_and_quality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with av.open(str(ROOT / "samples" / "flower.mp4")) as source:
        picture = next(source.decode(video=0)).to_image().crop((40, 20, 121, 83))
    picture.save(tmp_path / "a.png")
    picture.convert("L").save(tmp_path / "b.png")
    arguments = [str(tmp_path / name) for name in ("a.png", "b.png")]
    command = ["picture_quality.py", *arguments, "--quality", "30", "95", "--denoise", "0.5"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(ROOT / "bench" / "picture_quality.py"), run_name="__main__")
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert table[0] == "| JPG x2, PSNR dB / SSIM | 30 | 95 |"
    rows = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in table[2:]}
    assert [*rows] == ["lkdn-s", "lkdn-s-video", "denoise 0.5", "as lkdn-image"]
    for coarse, fine in rows.values():
        assert float(coarse.split(" / ")[0]) < float(fine.split(" / ")[0])
    assert rows["as lkdn-image"][0] == rows["lkdn-s-video"][0]
