"""Checks of Triton kernels, in a process of their own.

Whether Triton interprets is settled when it is imported, for good.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def check(name: str, *, interpreted: bool) -> None:
    """Run the checks of a file beside this one, in Triton's interpreter or on the GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(HERE / name)],
        env=os.environ | ({"TRITON_INTERPRET": "1"} if interpreted else {}),
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
