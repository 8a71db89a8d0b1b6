"""The options of `dualclip demo`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from dualclip_lightning.commandline.parser import Parser, speaking, whole_from_one
from dualclip_lightning.demo.data.assets import CATEGORIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status; invalid options are reported before PyTorch is imported."""
    options = parse(arguments)
    from dualclip_lightning.demo.run import run  # noqa: PLC0415 - takes seconds

    with speaking(options):
        return run(options)


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line; invalid options end the process with one line and status 2."""
    parser = Parser("dualclip demo", "The method on the data and the model that the package carries, offline.")
    parser.add_argument("--out", type=Path, default=Path("results/demo"), help="folder for tables and pictures")
    parser.add_argument("--seeds", type=whole_from_one, default=3, metavar="N", help="how many seeds draw the pairs")
    parser.add_argument(
        "--categories", nargs="+", default=list(CATEGORIES), choices=CATEGORIES, metavar="NAME",
        help="categories of the demo data",
    )  # fmt: skip
    return parser.parse_args(arguments)
