"""Every ``sh`` and ``python`` block of the README works on a tiny clip and picture."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.clips import make_clip

README = Path(__file__).parents[1] / "README.md"
BIN = Path(sys.executable).parent
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: What a block says it writes.
OUTPUT = re.compile(r"\bout\.\w+")


def blocks() -> list[tuple[str, str]]:
    """(language, code) of each block, without those that set up an environment."""
    found = FENCE.findall(README.read_text(encoding="utf-8"))
    return [(language, code) for language, code in found if "./bootstrap" not in code]


def test_the_readme_has_blocks_of_both_kinds() -> None:
    assert {language for language, _ in blocks()} == {"sh", "python"}


@pytest.mark.parametrize(("language", "code"), blocks(), ids=lambda text: text.split("\n")[0])
def test_the_block_runs(language: str, code: str, tmp_path: Path) -> None:
    if not (BIN / "lkdn-video").exists():
        pytest.skip("lkdn-suite is not installed here; ./bootstrap test does it")
    make_clip(tmp_path / "in.mp4")
    picture = Image.linear_gradient("L").resize((52, 44)).convert("RGB")
    picture.save(tmp_path / "in.png")
    (tmp_path / "pictures").mkdir()
    picture.save(tmp_path / "pictures" / "gradient.png")
    command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for name in OUTPUT.findall(code):
        assert (tmp_path / name).stat().st_size > 0
