"""The options of `dualclip watch FOLDER`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dualclip_lightning.commandline.parser import Parser, run_checked, whole_from_one
from dualclip_lightning.predict.limits import METHOD, NO_PAIRS
from dualclip_lightning.predict.option_groups import (
    add_bank,
    add_compared,
    add_former,
    add_geometry,
    add_heatmap_format,
    add_method,
    add_min_area,
    add_pixel_threshold,
    add_what,
)
from dualclip_lightning.predict.options import check_given, complete, parse_detector
from dualclip_lightning.utilities.record import results_around

DESCRIPTION = """Score the images that arrive in a folder, each once, and append to scores.csv and predictions.jsonl.
Ctrl-C or SIGTERM end it after the image in work. After a kill, the same command goes on."""
EPILOG = """exit status: 0 stopped, or with --once all files scored, 1 some files could not be used (see failures.csv),
2 wrong use, 3 stopped: a result could not be written or memory ran out."""
OF_PREDICT: dict[str, Any] = {
    "good": None, "false_alarm_rate": None, "masks": False, "coco": False, "gallery": 0, "num_references": None,
}  # fmt: skip
"""Options of `dualclip predict` that this command does not have, at their defaults."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; wrong options are reported before PyTorch is imported."""
    options = parse(arguments)
    return run_checked(options, partial(_check, options), _command)


def _check(options: argparse.Namespace) -> tuple[()]:
    _check_folders(options)
    check_given(options)
    return ()


def _command() -> Callable[..., int]:
    from dualclip_lightning.predict.watch.command import run  # noqa: PLC0415 - takes seconds

    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options from the command line; if they are invalid, exit with a one-line message and status 2."""
    parser = Parser("dualclip watch", DESCRIPTION, EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder in which images arrive, with subfolders")
    add_what(parser)
    _add_station(parser.add_argument_group("station"))
    add_former(parser.add_argument_group("a former run or a bundle"))
    _add_heatmaps(parser.add_argument_group("heatmaps"))
    _add_decisions(parser.add_argument_group("decisions"))
    _add_references(parser.add_argument_group("references"))
    add_geometry(parser.add_argument_group("geometry"))
    add_method(parser.add_argument_group("model and method"))
    parser.set_defaults(**OF_PREDICT)
    options = parse_detector(parser, arguments)
    if options.threshold is None:
        options.threshold = "none"
    if options.heatmaps is not None and options.scale is None:
        options.scale = ["0", "1"]
    complete(parser, options)
    for message in _contradictions(options):
        parser.error(message)
    return options


def _add_station(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out", type=Path, default=Path("results/watch"), help="folder for the tables; a station goes on in its own"
    )
    group.add_argument(
        "--move", action="store_true", help="move scored images into FOLDER/ok and FOLDER/anomalous; needs a threshold"
    )
    group.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks at the folder")
    group.add_argument(
        "--patience", type=whole_from_one, default=10, metavar="N",
        help="looks after which an unreadable file is reported and left alone until it changes",
    )  # fmt: skip
    group.add_argument("--once", action="store_true", help="score what is there, and end")


def _add_heatmaps(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--heatmaps", choices=("all", "anomalous"),
        help="draw images into OUT/heatmaps, which nothing limits or empties; 'anomalous' needs a threshold; default: "
        "none",
    )  # fmt: skip
    add_heatmap_format(group)
    group.add_argument(
        "--scale", nargs="+", type=_scale_value, metavar="VALUE",
        help="the colour scale of heatmaps: two numbers, or 'image' for each image's own range; default: 0 1",
    )  # fmt: skip


def _scale_value(text: str) -> str:
    if text == "run":
        msg = "a station has no end, so its maps give no scale; expected two numbers or 'image'"
        raise argparse.ArgumentTypeError(msg)
    return text


def _add_decisions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--threshold", help="a number, a threshold.json, or 'none'; default: that of --from or --bundle, or none"
    )
    add_pixel_threshold(group)
    add_min_area(group)


def _add_references(group: argparse._ArgumentGroup) -> None:
    add_compared(group, "none", "{stream,none}", "the images just before, or text alone; default: none of them")
    add_bank(group)


def _contradictions(options: argparse.Namespace) -> Iterator[str]:
    if not (math.isfinite(options.interval) and options.interval > 0):
        yield "argument --interval: expected a number of seconds above 0"
    if options.threshold == "auto":
        yield "--threshold auto needs a whole run; give a number, a threshold.json, --from or --bundle"
    if options.move and options.threshold == "none":
        yield "--move needs a threshold; give --threshold, --from or --bundle"
    if options.heatmaps == "anomalous" and options.threshold == "none":
        yield "--heatmaps anomalous needs a threshold; give --threshold, --from or --bundle"
    in_pairs = options.references == "pairs" and options.reference is None and options.alpha != 1
    if options.bundle is None and options.method == METHOD and in_pairs:
        yield NO_PAIRS


def _check_folders(options: argparse.Namespace) -> None:
    """Check that images can arrive in the folder, and results go elsewhere.

    Raises:
        ValueError: If this is not so.
    """
    if not options.folder.is_dir():
        msg = f"Expected a folder to watch, but there is none at '{options.folder}'."
        raise ValueError(msg)
    if options.folder.resolve().is_relative_to(options.out.resolve()):
        msg = f"--out '{options.out}' contains the watched folder, whose images would count as results. Choose another."
        raise ValueError(msg)
    if (around := results_around(options.folder)) is not None:
        msg = f"'{options.folder}' belongs to the results in '{around}', which are not scored. Watch another folder."
        raise ValueError(msg)
