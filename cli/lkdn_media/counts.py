"""Numbers of things in sentences."""

__all__ = ["counted"]


def counted(number: int, thing: str) -> str:
    """``1 frame``, ``2 frames``; ``thing`` is one, and more of it end in an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
