"""``lkdn-export``: a network as ONNX for vs-mlrt and others, or as ``.pt2`` for torch."""

import argparse
from pathlib import Path

from lkdn_cli.console import Parser, run
from lkdn_cli.engine_options import add_denoise_option

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Write a network to a file; returns the exit code."""
    parser = Parser(
        prog="lkdn-export",
        description="Write a network for other runtimes, in the format of FILE's ending: .onnx "
        "(opset 17, for vs-mlrt, ONNX Runtime, OpenVINO) or .pt2 (for torch.export.load)."
        " RGB in [0, 1], NCHW, float32 in and out, any size.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what is written")
    parser.add_argument("--scale", type=int, default=4, help="2, 3 or 4 (default 4)")
    parser.add_argument("--model", default="lkdn-s", help="a name from lkdn-models (lkdn-s)")
    parser.add_argument("--weights", type=Path, help="a checkpoint of your own instead")
    add_denoise_option(parser)
    parser.add_argument("--precision", default="fp32", help="fp32 or fp16 (default fp32)")
    parser.add_argument("-y", "--overwrite", action="store_true", help="overwrite FILE")
    return run(parser, _export, argv)


def _export(arguments: argparse.Namespace) -> int:
    from lkdn_core.errors import ArgumentError
    from lkdn_core.export import export_onnx, export_program
    from lkdn_media.files import check_free, followed, whole_file

    file: Path = arguments.file
    export = {".onnx": export_onnx, ".pt2": export_program}.get(file.suffix)
    if export is None:
        raise ArgumentError(f"FILE: a name in .onnx or .pt2 is accepted, got {file}")
    check_free(file, overwrite=arguments.overwrite, argument="FILE")
    with whole_file(followed(file), overwrite=arguments.overwrite) as part:
        export(
            part,
            scale=arguments.scale,
            model=arguments.model,
            weights=arguments.weights,
            denoise=arguments.denoise,
            precision=arguments.precision,
        )
    return 0
