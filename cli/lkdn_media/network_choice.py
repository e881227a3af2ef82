"""Which network, as the front ends say it."""

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["NetworkChoice"]


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """A network but for its scale; see `lkdn_core.Upscaler` of ``model``, ``weights``, ``denoise``.

    As text: its name or the path of its file, and the strength.
    """

    model: str
    weights: Path | None = None
    denoise: float | None = None

    def __str__(self) -> str:
        strength = "" if self.denoise is None else f" (denoise {self.denoise:g})"
        return f"{self.weights or self.model}{strength}"

    @property
    def name(self) -> str:
        """The text, without the folder of its file."""
        return str(self if self.weights is None else replace(self, weights=Path(self.weights.name)))

    def facts(self) -> dict[str, object]:
        """What programs are told of it."""
        named: dict[str, object] = {"model": str(self.weights or self.model)}
        return named if self.denoise is None else named | {"denoise": self.denoise}

    def check(self, scale: int) -> None:
        """Refuse weights that are missing or don't fit; downloads nothing. Raises ``LKDNError``."""
        from lkdn_core.models import find_model, load_model

        if self.weights is None and self.denoise is None:
            find_model(self.model, scale)
        else:
            load_model(self.model, scale, weights=self.weights, denoise=self.denoise)
