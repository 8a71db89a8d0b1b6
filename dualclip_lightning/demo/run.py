"""`dualclip demo`: the method on the data and the model that the package carries, offline, in a minute or two.

The demo is the benchmark of `configs/benchmark/demo_parts.yaml`, in the folder `runs`. Next to it are a table over
categories, a picture of heatmaps, and the provenance of every figure.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from dualclip_lightning.benchmark.names import metrics_of
from dualclip_lightning.benchmark.plan.config import load_config
from dualclip_lightning.benchmark.plan.schema import Config
from dualclip_lightning.benchmark.plan.shipped import find_config
from dualclip_lightning.benchmark.report.summary import failures
from dualclip_lightning.benchmark.results import BenchmarkRun, load_run, read_cell
from dualclip_lightning.benchmark.run.local_runner import Event
from dualclip_lightning.benchmark.run.session import look, notes, run_benchmark
from dualclip_lightning.benchmark.status import DONE, finished
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.demo.data.assets import REAL
from dualclip_lightning.demo.figure import Example, choose_examples, plot_examples
from dualclip_lightning.demo.table import SHOWN, show, summarise
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.record import mark_results

CONFIG, DATA, CHOSEN = "demo_parts", "Demo", "joint"
"""Name of the configuration, of its data set, and of the method whose maps determine the images of the picture."""
RUNS = "runs"
"""Subfolder of the demo's folder for the benchmark."""
SOME_FAILED = 1


def configure(seeds: int, categories: Sequence[str]) -> Config:
    """Return the demo's benchmark with the given number of seeds and categories."""
    overrides = [f"seeds={list(range(seeds))}", f"datasets.{DATA}.categories={json.dumps(list(categories))}"]
    return load_config(find_config(CONFIG, "benchmark"), overrides)


def run(options: Namespace) -> int:
    """Run the demo with the options of `options.parse` and print its results.

    Returns:
        0, or 1 if a run failed.
    """
    console, start, folder = Console(), time.monotonic(), options.out / RUNS
    config = configure(options.seeds, options.categories)
    mark_results(options.out, (RUNS, "heatmaps.png"))
    for note in notes(look(config, folder), folder):
        console.print(note)
    with console.status("Scoring the demo data ..."), quiet():
        found = run_benchmark(config, folder, on_event=lambda event: _tell(event, console))
    failed = failures(found)
    for row in failed.itertuples():
        print(f"dualclip: {row.category}, {row.method}, seed {row.seed} failed: {row.error}", file=sys.stderr)
    if len(failed):
        return SOME_FAILED
    frame = to_frame(found, options.categories)
    table = summarise(frame)
    _save(load_run(folder), frame, table, options.out)
    show(table, console)
    console.print(
        f"{len(frame)} runs in {time.monotonic() - start:.0f} s. Heatmaps, figures, provenance: {options.out}"
    )
    console.print("The demo model stands in for CLIP; its figures say nothing about real CLIP weights.")
    return 0


def _tell(event: Event, console: Console) -> None:
    cell, row = event
    if row is not None and row["status"] == DONE:
        figures = ", ".join(f"{name} {100 * row[key]:.1f}" for key, name in SHOWN.items())
        console.print(f"{cell.category}, {cell.method}, seed {cell.seed}: {figures}")


def to_frame(results: pd.DataFrame, categories: Sequence[str]) -> pd.DataFrame:
    """Return one row per run, by category; `defects` tells whether those of the category are real or drawn."""
    metrics = [name for name in metrics_of(results) if name in results]
    frame = results[["category", "method", "kind", "seed", *metrics]].rename(columns={"method": "variant"})
    frame.insert(1, "defects", np.where(frame["category"].isin(REAL), "real", "drawn"))
    place = frame["category"].map({name: place for place, name in enumerate(categories)})
    return frame.loc[place.sort_values(kind="stable").index].reset_index(drop=True)


def _save(run: BenchmarkRun, frame: pd.DataFrame, table: pd.DataFrame, folder: Path) -> None:
    write_bytes_atomically(folder / "results.csv", frame.to_csv(index=False).encode())
    write_bytes_atomically(folder / "summary.csv", table.to_csv().encode())
    provenance = _provenance(run, frame)
    write_bytes_atomically(folder / "provenance.json", json.dumps(provenance, indent=2).encode())
    examples = {
        (row.category, row.method): kept
        for row in finished(run.frame).itertuples()
        if (kept := _examples(run, row.key)) is not None
    }
    chosen = choose_examples(examples, by=CHOSEN)
    write_bytes_atomically(folder / "heatmaps.png", plot_examples(chosen, list(run.config["methods"])))


def _provenance(run: BenchmarkRun, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the provenance of the figures of every run, in the order of the frame."""
    keys = run.frame.set_index(["category", "method", "seed"])["key"]
    return {
        f"{row.category}, {row.variant}, seed {row.seed}": (
            read_cell(run.folder, keys[row.category, row.variant, row.seed]) or {}
        ).get("provenance")
        for row in frame.itertuples()
    }


def _examples(run: BenchmarkRun, key: str) -> dict[str, Example] | None:
    """Return every defective image of a run with its map; None if the run kept no maps."""
    kept = run.maps(key)
    if kept is None:
        return None
    images = zip(kept["image_path"].tolist(), kept["maps"].astype(np.float32), kept["masks"], strict=True)
    return {path: Example(path, score_map, mask) for path, score_map, mask in images if mask.any()}
