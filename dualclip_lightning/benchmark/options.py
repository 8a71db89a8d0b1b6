"""Options of `dualclip benchmark`, `compare` and `regression`, and checks before PyTorch is imported."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from dualclip_lightning.benchmark.plan.errors import ConfigError
from dualclip_lightning.benchmark.plan.shipped import config_names, find_config
from dualclip_lightning.commandline.parser import WRONG, Parser, speaking, whole_from_one

RESULTS = Path("results/benchmark")
GUARD = "demo"
CELL_BY_CELL = 2
"""Number of runs that are compared cell by cell."""


def benchmark(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark and return its exit status (`command.run`)."""
    return _run("command", benchmark_options(arguments), _find("benchmark"))


def compare(arguments: Sequence[str] | None = None) -> int:
    """Compare runs and return the exit status (`report.compare.run`)."""
    return _run("report.compare", compare_options(arguments), _check_runs)


def regression(arguments: Sequence[str] | None = None) -> int:
    """Record or check figures and return the exit status (`regression.run`)."""
    return _run("regression", regression_options(arguments), _find("regression"))


def _run(home: str, options: Namespace, check: Callable[[Namespace], None]) -> int:
    try:
        check(options)
    except ConfigError as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return WRONG
    with speaking(options):
        return import_module(f"dualclip_lightning.benchmark.{home}").run(options)


def _find(kind: str) -> Callable[[Namespace], None]:
    def put_file(options: Namespace) -> None:
        options.config = find_config(options.config, kind)

    return put_file


def _check_runs(options: Namespace) -> None:
    for folder in options.runs:
        if not folder.is_dir():
            msg = f"Expected '{folder}' to be a folder that `dualclip benchmark` left, but there is none."
            raise ConfigError(msg)
    options.ranks = options.ranks or len(options.runs) != CELL_BY_CELL
    if options.ranks and len({folder.resolve() for folder in options.runs}) < len(options.runs):
        msg = "Expected every run once, but a folder is given twice."
        raise ConfigError(msg)
    if not options.ranks and (options.metric or options.blocks != "category" or options.bootstrap):
        msg = "Two runs are compared cell by cell, without --metric, --blocks and --bootstrap. Add --ranks."
        raise ConfigError(msg)
    if options.bootstrap and options.metric and "image_AUROC" not in options.metric:
        msg = "Expected image_AUROC among --metric with --bootstrap, because images.csv is enough for no other metric."
        raise ConfigError(msg)


def benchmark_options(arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the options of `dualclip benchmark`."""
    parser = Parser("dualclip benchmark",
                    "Run methods x data sets x categories x seeds from one YAML file, into one folder.",
                    "anomalib's own benchmark is `anomalib benchmark`.")  # fmt: skip
    names = ", ".join(config_names("benchmark"))
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help=f"a YAML file, or {names}")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"folder of the run; default: {RESULTS}/<name>")
    parser.add_argument("--workers", type=whole_from_one, metavar="N", help="processes; default: one a GPU, or one")
    parser.add_argument("--runner", choices=["local", "ray"], default="local", help="this machine, or a Ray cluster")
    parser.add_argument("--cpus-per-cell", type=float, default=1.0, metavar="N", help="CPUs of the Ray cluster")
    parser.add_argument("--gpus-per-cell", type=float, metavar="N", help="GPUs of the Ray cluster; default: 1 for cuda")
    parser.add_argument("--dry-run", action="store_true", help="check the configuration and list what would run")
    parser.add_argument("--no-report", dest="report", action="store_false", help="write tables, but no report.html")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaced values, such as seeds=[0,1]")
    return parser.parse_args(arguments)


def compare_options(arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the options of `dualclip compare`."""
    parser = Parser(
        "dualclip compare", "Compare two runs of the benchmark cell by cell, or rank the methods of any number of runs."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                        help="folders of runs: of two, differences are second - first; of another number, all methods "
                             "are ranked")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for tables and diagrams; default: none")
    ranks = parser.add_argument_group("ranks")
    ranks.add_argument("--ranks", action="store_true", help="rank all methods, also of two runs")
    ranks.add_argument("--metric", action="append", metavar="NAME",
                       help="column of results.csv, may be repeated; default: image_AUROC")  # fmt: skip
    ranks.add_argument("--blocks", choices=["category", "dataset"], default="category",
                       help="what methods are ranked on, and tests take as independent")  # fmt: skip
    ranks.add_argument(
        "--bootstrap",
        type=whole_from_one,
        default=0,
        metavar="N",
        help="resamplings of images for intervals of differences in image AUROC; default: none",
    )
    return parser.parse_args(arguments)


def regression_options(arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the options of `dualclip regression`."""
    parser = Parser("dualclip regression", "Record a few figures, or check that they have not changed.")
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument(
        "--config", type=Path, default=Path(GUARD), metavar="FILE", help="a YAML file, or a shipped one"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: that of the file")
    parser.add_argument("--workers", type=whole_from_one, metavar="N", help="processes; default: one a GPU, or one")
    return parser.parse_args(arguments)
