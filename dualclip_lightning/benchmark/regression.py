"""`dualclip regression`: record a few figures, and check that they have not changed.

    dualclip regression check
    dualclip regression record

The YAML file contains a benchmark and, for each device, the tolerance of a number. The figures are next to it in a JSON
file of the same name, with their provenance. One recording is used for every device.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

from dualclip_lightning.benchmark.names import metrics_of
from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError, parse_config, read_yaml
from dualclip_lightning.benchmark.plan.schema import Config
from dualclip_lightning.benchmark.report.summary import failures
from dualclip_lightning.benchmark.results import BenchmarkRun, load_run
from dualclip_lightning.benchmark.run.session import Means, run_benchmark
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.utilities.files import cannot_write, write_bytes_atomically

MEAN_SCORE = "mean_score"
"""Mean image score, which changes smoothly, whereas a metric of few images is constant or jumps."""
FIELDS = ("method", "dataset", "category", "seed")
MOVED, REFUSED, UNWRITTEN = 1, 2, 3
DIGITS = 7

Numbers = dict[str, dict[str, float]]
"""Numbers by cell and name."""


@dataclass(frozen=True)
class Guard:
    """A benchmark, and the tolerances of its numbers on each device."""

    config: Config
    tolerances: Mapping[str, Mapping[str, float]]
    """Tolerance by device and prefix of a number's name; the longest matching prefix applies."""

    def tolerance(self, device: str, number: str) -> float:
        """Return the tolerance of a number on a device.

        Raises:
            ConfigError: the file has no tolerance for it.
        """
        limits = self.tolerances.get(device) or {}
        start = max((start for start in limits if number.startswith(start)), key=len, default=None)
        if start is None:
            msg = f"There is no tolerance for {number} on {device}. Add one under `tolerances.{device}`."
            raise ConfigError(msg)
        return limits[start]


class Move(NamedTuple):
    """A recorded number with its current value; either may be missing."""

    cell: str
    number: str
    before: float | None
    now: float | None
    tolerance: float

    @property
    def too_far(self) -> bool:
        """Return whether the number changed beyond its tolerance, vanished or is new."""
        if self.before is None or self.now is None:
            return True
        return not abs(self.now - self.before) <= self.tolerance  # comparisons with NaN are false


def load_guard(path: Path) -> Guard:
    """Read the benchmark and the tolerances.

    Raises:
        ConfigError: the file does not exist or is invalid.
    """
    content = cast("dict[str, Any]", OmegaConf.to_container(read_yaml(path)))
    missing = [name for name in ("benchmark", "tolerances") if not isinstance(content.get(name), dict)]
    if missing:
        msg = f"Expected '{path}' to hold settings under {' and '.join(missing)}, but got none. Add them."
        raise ConfigError(msg)
    return Guard(parse_config(content["benchmark"]), content["tolerances"])


def numbers(run: BenchmarkRun) -> Numbers:
    """Return the recorded numbers of every finished cell: its metrics and the mean of its image scores."""
    done = finished(run.frame)
    means = run.images.groupby("key")["score"].mean()
    return {
        " | ".join(str(row[name]) for name in FIELDS): {
            **{metric: round(float(row[metric]), DIGITS) for metric in metrics_of(done) if pd.notna(row[metric])},
            MEAN_SCORE: round(float(means[row["key"]]), DIGITS),
        }
        for _, row in done.iterrows()
    }


def moves(guard: Guard, device: str, before: Numbers, now: Numbers) -> Iterator[Move]:
    """Yield all numbers that were recorded or are found now."""
    for cell in dict.fromkeys([*before, *now]):
        old, new = before.get(cell, {}), now.get(cell, {})
        for name in dict.fromkeys([*old, *new]):
            yield Move(cell, name, old.get(name), new.get(name), guard.tolerance(device, name))


def measure(config: Config, workers: int | None, console: Console) -> BenchmarkRun:
    """Run all cells in a temporary folder.

    Raises:
        ConfigError: a cell failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        frame = run_benchmark(config, Path(folder), Means(workers), console)
        failed = failures(frame)
        if len(failed):
            raise ConfigError("\n".join(f"{row.method}, {row.category}: {row.error}" for row in failed.itertuples()))
        return load_run(folder)


def record(path: Path, config: Config, workers: int | None, console: Console) -> int:
    """Write the current numbers next to the YAML file."""
    run = measure(config, workers, console)
    about = ("device", "precision", "versions", "git_revision", "weights_sha256")
    content = {"produced_by": {name: sorted(set(run.frame[name].dropna())) for name in about}, "numbers": numbers(run)}
    write_bytes_atomically(path.with_suffix(".json"), (json.dumps(content, indent=2) + "\n").encode())
    console.print(f"{sum(map(len, numbers(run).values()))} numbers recorded in {path.with_suffix('.json')}")
    return 0


def check(path: Path, guard: Guard, workers: int | None, console: Console) -> int:
    """Compare the current numbers with the recorded ones, and print those that changed too much."""
    recorded = path.with_suffix(".json")
    if not recorded.is_file():
        msg = f"Nothing is recorded in '{recorded}'. Run `dualclip regression record --config {path}` first."
        raise ConfigError(msg)
    before = _recorded(recorded)
    device = plan(guard.config)[0].device
    found = list(moves(guard, device, before, numbers(measure(guard.config, workers, console))))
    wrong = [move for move in found if move.too_far]
    if wrong:
        print(f"{len(wrong)} of {len(found)} numbers moved on {device}:", *map(_sentence, wrong), sep="\n")
        return MOVED
    near = max(found, key=_share)
    print(f"{len(found)} numbers within their tolerance on {device}. The nearest to it: {_sentence(near)}.")
    return 0


def _recorded(path: Path) -> Numbers:
    try:
        return cast("Numbers", json.loads(path.read_text(encoding="utf-8"))["numbers"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"'{path}' is damaged. Restore it, or run `dualclip regression record` again."
        raise ConfigError(msg) from error


def _distance(move: Move) -> float:
    return abs((move.now or 0.0) - (move.before or 0.0))


def _share(move: Move) -> float:
    """Return the change of a number as a share of its tolerance."""
    return _distance(move) / move.tolerance if move.tolerance > 0 else 0.0


def _sentence(move: Move) -> str:
    before, now = ("none" if value is None else f"{value:.6f}" for value in (move.before, move.now))
    return (
        f"{move.cell}: {move.number} from {before} to {now}, {_distance(move):.2g} where {move.tolerance:g} is allowed"
    )


def run(options: argparse.Namespace) -> int:
    """Record or check with the options of `options.regression_options`.

    Returns:
        0, or 1 if a number moved beyond its tolerance, 2 if nothing could be compared, 3 if a file cannot be written.
    """
    console, start = Console(), time.monotonic()
    try:
        path = options.config
        guard = load_guard(path)
        guard = replace(guard, config=replace(guard.config, device=options.device or guard.config.device))
        if options.action == "record":
            status = record(path, guard.config, options.workers, console)
        else:
            status = check(path, guard, options.workers, console)
    except ConfigError as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        raise
    except OSError as error:
        print(
            f"dualclip: {cannot_write(error, options.config)} Copy the YAML file to a folder of yours.", file=sys.stderr
        )
        return UNWRITTEN
    console.print(f"{time.monotonic() - start:.0f} s")
    return status
