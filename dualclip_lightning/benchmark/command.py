"""`dualclip benchmark`: methods x data sets x categories x seeds from one YAML file, into one folder.

It may be stopped or killed at any time: the same command continues and repeats only the cells that were in progress.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from rich.console import Console

from dualclip_lightning.benchmark.options import RESULTS
from dualclip_lightning.benchmark.plan.config import ConfigError, load_config
from dualclip_lightning.benchmark.plan.schema import Config
from dualclip_lightning.benchmark.report.html import write_report
from dualclip_lightning.benchmark.report.render import screen
from dualclip_lightning.benchmark.report.summary import failures
from dualclip_lightning.benchmark.report.tables import show_tables, write_tables
from dualclip_lightning.benchmark.results import load_run
from dualclip_lightning.benchmark.run.ray_runner import Resources
from dualclip_lightning.benchmark.run.session import Means, look, notes, refuse, run_benchmark
from dualclip_lightning.utilities.files import cannot_write

SOME_FAILED, REFUSED, STOPPED, INTERRUPTED = 1, 2, 3, 130


def run(options: argparse.Namespace) -> int:
    """Run a benchmark with the options of `options.benchmark_options`.

    Returns:
        0, or 1 if a cell failed, 2 if the configuration is refused, 3 if a file cannot be written, 130 if it was
        interrupted.
    """
    console = screen()
    try:
        config = load_config(options.config, options.overrides)
        folder = options.out or RESULTS / config.name
        if options.dry_run:
            _show_plan(config, folder, console)
            for need in refuse(look(config, folder).to_run, on_cluster=options.runner == "ray"):
                console.print(need.sentence(), highlight=False, markup=False)
            return 0
        return _run(config, folder, _means(options, config), console, report=options.report)
    except (ConfigError, ModuleNotFoundError, ConnectionError) as error:  # ConnectionError comes from a cluster
        print(f"dualclip: {error}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        raise
    except OSError as error:
        remedy = "What was done is kept; make room or choose another --out, and the same command continues."
        print(f"dualclip: {cannot_write(error, options.out or RESULTS)} {remedy}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("Stopped. What was finished is kept; the same command continues.", file=sys.stderr)
        return INTERRUPTED


def _run(config: Config, folder: Path, means: Means, console: Console, report: bool) -> int:
    _show_plan(config, folder, console)
    start = time.monotonic()
    frame = run_benchmark(config, folder, means, console)
    console.print(f"{len(frame)} cells, {time.monotonic() - start:.0f} s: {folder / 'results.csv'}")
    _publish(folder, console, report)
    return _say_failures(frame)


def _show_plan(config: Config, folder: Path, console: Console) -> None:
    todo = look(config, folder)
    console.print(f"{config.name}: {len(todo.cells)} cells, {len(todo.pending)} to run, into {folder}")
    for note in notes(todo, folder):
        console.print(note)
    for (method, dataset), count in Counter((cell.method, cell.dataset) for cell in todo.to_run).items():
        console.print(f"  {count:4} x {method} on {dataset}", highlight=False, markup=False)


def _publish(folder: Path, console: Console, report: bool) -> None:
    run = load_run(folder)
    write_tables(run)
    path = write_report(run) if report else None
    show_tables(run, console)  # after everything is written, so that a failing console loses nothing
    if path is not None:
        console.print(f"Report: {path}")


def _say_failures(frame: pd.DataFrame) -> int:
    failed = failures(frame)
    for row in failed.itertuples():
        print(f"Failed: {row.method}, {row.dataset} {row.category}, seed {row.seed}: {row.error}", file=sys.stderr)
    return SOME_FAILED if len(failed) else 0


def _means(options: argparse.Namespace, config: Config) -> Means:
    gpus = options.gpus_per_cell
    if gpus is None:
        gpus = 1.0 if config.device == "cuda" else 0.0
    return Means(options.workers, Resources(options.cpus_per_cell, gpus) if options.runner == "ray" else None)
