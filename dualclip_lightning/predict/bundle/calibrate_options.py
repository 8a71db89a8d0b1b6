"""The options of `dualclip calibrate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dualclip_lightning.commandline.parser import Parser, run_checked
from dualclip_lightning.images.finding.listing import Listing, check_there, find_images
from dualclip_lightning.predict.limits import RATE, REFERENCES
from dualclip_lightning.predict.option_groups import (
    add_geometry,
    add_method,
    add_min_area,
    add_spatial_window,
    add_what,
)
from dualclip_lightning.predict.options import complete
from dualclip_lightning.utilities.files import check_free

DESCRIPTION = """Make a detector for one product in one file, from images believed good: some become the references, the
others give the threshold. 'dualclip predict PATH --bundle FILE' uses it."""
OF_PREDICT: dict[str, Any] = {
    "threshold": None, "pixel_threshold": None, "good": None, "heatmaps": True, "scale": None, "gallery": 0,
    "heatmap_format": None, "coco": False, "reference": None, "references": None, "num_references": None,
    "bank_size": None, "bundle": None,
}  # fmt: skip
"""Options of `dualclip predict` that this command does not have, at their defaults."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; wrong options are reported before PyTorch is imported."""
    options = parse(arguments)
    refused = (FileNotFoundError, FileExistsError, ValueError)
    return run_checked(options, partial(_check, options), _command, refused)


def _check(options: argparse.Namespace) -> tuple[Listing]:
    check_free(options.out, overwrite=options.overwrite)
    listing = find_images(options.paths, options.exclude, sys.stdin.buffer)
    check_there(listing.paths, options.paths, every=True)
    return (listing,)


def _command() -> Callable[..., int]:
    from dualclip_lightning.predict.bundle.calibrate import run  # noqa: PLC0415 - takes seconds

    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options from the command line; if they are invalid, exit with a one-line message and status 2."""
    parser = Parser("dualclip calibrate", DESCRIPTION)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="images believed good: folder, 'pattern', list (.txt), or - for one"
    )
    add_what(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the bundle, for example plate.dualclip"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument(
        "--num-references", dest="count", type=_count, metavar="K",
        help=f"number of references, drawn by --seed; 0 for text alone; default: {REFERENCES}, or 0 for a method that "
        "takes none",
    )  # fmt: skip
    parser.add_argument("--false-alarm-rate", type=float, help=f"of normal images; default: {RATE}")
    add_min_area(parser.add_argument_group("regions"))
    add_spatial_window(parser.add_argument_group("references"))
    add_geometry(parser.add_argument_group("geometry"))
    add_method(parser.add_argument_group("model and method"))
    parser.set_defaults(**OF_PREDICT)
    options = parser.parse_args(arguments)
    options.references = "none" if options.count == 0 else None  # for the check of options that go with references
    complete(parser, options)
    return options


def _count(text: str) -> int:
    """Parse a number of references; for use as the type of an option."""
    if not text.isdecimal():
        msg = f"expected a whole number from 0, but got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
