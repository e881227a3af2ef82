"""Tables on stdout: models, codecs and devices."""

from collections.abc import Callable, Iterable
from typing import Final

from lkdn_cli.console import put

__all__ = ["TABLES", "print_table"]

Row = tuple[str, ...]
_FOR: Final = {
    "lkdn-s": "clean sources",
    "lkdn-s-video": "video of lossy codecs",
    "official-lkdn": "the best picture",
    "official-lkdn-s": "the best picture at this cost",
    "official-lkdn-s-fused": "the same, as the authors fused it",
}


def print_table(name: str) -> None:
    """Print the table ``name`` of `TABLES` to stdout. Raises ``LKDNError``."""
    rows = list(TABLES[name]())
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        put("  ".join(cells).rstrip() + "\n")


def _models() -> Iterable[Row]:
    from lkdn_core.arch import LKDN_CONFIGS
    from lkdn_core.complexity import count_multiply_adds, count_parameters
    from lkdn_core.models import list_models

    yield "model", "scale", "parameters", "multiply-adds", "weights", "for"
    for model in list_models():
        network = "lkdn-s" if "lkdn-s" in model.name else "lkdn"
        config = LKDN_CONFIGS[f"{network}-x{model.scale}"]
        cost = f"{count_multiply_adds(config) / 1e9:.2f} G"
        where = "bundled" if model.bundled else "downloaded at first use"
        yield (
            *(model.name, f"x{model.scale}", f"{count_parameters(config)}", cost, where),
            _FOR.get(model.name, ""),
        )


def _codecs() -> Iterable[Row]:
    from lkdn_media.encoder_list import list_encoders, list_own_encoders

    yield "codec", "here", "containers", "description"
    for encoder in list_encoders():
        here = "yes" if encoder.opens else "no"
        yield encoder.name, here, " ".join(encoder.endings), encoder.description
    for encoder in list_own_encoders():
        yield encoder.name, "ffmpeg", " ".join(encoder.endings), encoder.description


def _devices() -> Iterable[Row]:
    import torch

    from lkdn_media.hwaccel import device_names, opens

    yield "device", "for", "here", "description"
    yield "cpu", "--device", "yes", f"{torch.get_num_threads()} threads"
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        memory = f"{card.total_memory / 2**30:.0f} GiB"
        yield f"cuda:{number}", "--device", "yes", f"{card.name}, {memory}"
    for name in device_names():
        yield name, "--hwaccel", "yes" if opens(name) else "no", "decoding"


TABLES: Final[dict[str, Callable[[], Iterable[Row]]]] = {
    "codecs": _codecs,
    "models": _models,
    "devices": _devices,
}
