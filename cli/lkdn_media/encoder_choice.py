"""What somebody wishes of the video encoder."""

from dataclasses import dataclass

from lkdn_core.errors import ArgumentError

__all__ = ["EncoderChoice"]


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """What the user asked for; ``None`` and ``"auto"`` leave it to us.

    ``bitrate``: bits a second. ``options``: (name, value) of the encoder's own. ``ffmpeg``: the
    program that is asked for encoders PyAV lacks, see `find_ffmpeg`. Raises ``ArgumentError``
    where two wishes exclude each other.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str = "auto"
    bitrate: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    ffmpeg: str | None = None

    def __post_init__(self) -> None:
        if self.crf is not None and self.bitrate is not None:
            raise ArgumentError("crf, bitrate: one of them is accepted, got both")
