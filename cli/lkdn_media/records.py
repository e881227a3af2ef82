"""What a job notes in small files, which are read back as they were written or not at all."""

import json
import zlib
from pathlib import Path
from typing import Any

from lkdn_core.files import replacing

__all__ = ["read_record", "write_record"]


def write_record(path: Path, content: object) -> None:
    """Write ``content`` to ``path`` as JSON with a checksum. Raises ``OSError``."""
    text = json.dumps(content)
    with replacing(path) as file:
        file.write(json.dumps({"checksum": _checksum(text), "content": content}).encode())


def read_record(path: Path) -> Any:
    """What `write_record` wrote to ``path``; ``None`` where that is gone or damaged."""
    try:
        record = json.loads(path.read_bytes())
        content = record["content"]
        whole = record["checksum"] == _checksum(json.dumps(content))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return content if whole else None


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())
