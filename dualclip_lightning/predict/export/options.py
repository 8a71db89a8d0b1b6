"""The options of `dualclip export --bundle FILE --out FILE`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dualclip_lightning.commandline.parser import Parser, run_checked
from dualclip_lightning.predict.export.files import check_target

DESCRIPTION = """Write the detector of a bundle, with its references and threshold inside, as a file that runs without
this package and without PyTorch: images in; scores, maps and decisions out."""
EPILOG = """exit status: 0 the file was written, 2 wrong use, 3 it cannot be written or memory ran out, 130 interrupted.

With --model or --config, `dualclip export` is anomalib's command: see `anomalib export --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; wrong options are reported before PyTorch is imported."""
    options = parse(arguments)
    return run_checked(options, partial(_check, options), _command, (ValueError, ImportError, FileExistsError))


def _check(options: argparse.Namespace) -> tuple[()]:
    check_target(options.out, overwrite=options.overwrite)
    return ()


def _command() -> Callable[..., int]:
    from dualclip_lightning.predict.export.command import run  # noqa: PLC0415 - takes seconds

    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options from the command line; if they are invalid, exit with a one-line message and status 2."""
    parser = Parser("dualclip export", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--bundle", type=Path, required=True, metavar="FILE",
        help="the detector: a file of 'dualclip calibrate' (with --geometry squash) or Detector.save",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="plate.onnx for ONNX, or plate.xml for OpenVINO, which writes plate.bin beside it",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the files if they exist")
    weights = parser.add_argument_group("weights, if they are elsewhere on this machine")
    weights.add_argument("--backbone", help="architecture of open_clip; default: that of the bundle")
    weights.add_argument("--pretrained", help="tag, file or folder; default: that of the bundle")
    weights.add_argument("--checkpoint", help="trained layers; default: that of the bundle")
    return parser.parse_args(arguments)
