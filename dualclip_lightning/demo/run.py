"""`dualclip demo`: the method on the data and the model that the package carries, offline, in a minute or two.

Text only, reference only and the joint method run through anomalib's Engine on every category of the demo; a table, a
picture of heatmaps, and files with every figure and what produced it are left behind.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.data.assets import MATERIALS, REAL
from dualclip_lightning.demo.evaluate import DemoRun, run_once
from dualclip_lightning.demo.figure import choose_examples, draw_examples
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.record import mark_results

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "text only": {"alpha": 1.0},
    "reference only": {"alpha": 0.0, "class_weight": 0.0},
    "joint": {},
}
"""What is shown side by side: arguments of `DualImageCLIP` by name."""
SHOWN = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC", "pixel_PRO": "PRO"}


def run_variants(categories: Sequence[str], seeds: Sequence[int], folder: Path) -> Iterator[DemoRun]:
    """Run every variant on every category; the text score does not depend on the seed and runs once."""
    for category in categories:
        for variant, arguments in VARIANTS.items():
            for seed in seeds[:1] if variant == "text only" else seeds:
                yield run_once(category, variant, seed, arguments, folder)


def summarise(runs: Sequence[DemoRun]) -> pd.DataFrame:
    """Mean over seeds by category and variant; below, the means over the materials, the real categories, and all."""
    frame = to_frame(runs)
    table = frame.pivot_table(index="category", columns="variant", values=list(SHOWN), aggfunc="mean", sort=False)
    table = table.swaplevel(axis=1)[[(variant, metric) for variant in VARIANTS for metric in SHOWN]]
    parts = {"mean of materials": table.index.isin(MATERIALS), "mean of real": table.index.isin(REAL)}
    means = {name: table[chosen].mean() for name, chosen in parts.items() if 0 < chosen.sum() < len(table)}
    return pd.concat([table, pd.DataFrame(means | {"mean": table.mean()}).T])


def to_frame(runs: Sequence[DemoRun]) -> pd.DataFrame:
    """A row a run, a column a metric; `defects` says whether those of the category are real or drawn."""
    columns = ("category", "variant", "kind", "seed")
    rows = [{name: getattr(run, name) for name in columns} | run.metrics for run in runs]
    defects = ["real" if run.category in REAL else "drawn" for run in runs]
    frame = pd.DataFrame(rows)
    frame.insert(1, "defects", defects)
    return frame


def show(table: pd.DataFrame, console: Console) -> None:
    """Print the summary with the best variant of each figure in bold."""
    caption = "(real): photographs of real defects; those of the materials are drawn"
    view = Table(title=f"{', '.join(SHOWN.values())} in %, demo model on demo data", caption=caption)
    view.add_column("category")
    for variant in VARIANTS:
        view.add_column(variant, justify="center")
    for category, row in table.iterrows():
        best = row.groupby(level=1).transform("max")
        cells: dict[str, list[str]] = {variant: [] for variant in VARIANTS}
        for variant, metric in row.index:
            text = f"{100 * row[variant, metric]:.1f}"
            cells[variant].append(f"[bold]{text}[/]" if row[variant, metric] == best[variant, metric] else text)
        view.add_row(
            f"{category} (real)" if category in REAL else str(category),
            *("  ".join(cell) for cell in cells.values()),
        )
    console.print(view)


def run(options: Namespace) -> None:
    """Run the demo with the options of `options.parse` and print what it found."""
    console, start, runs = Console(), time.monotonic(), []
    mark_results(options.out, ("runs", "heatmaps.png"))
    with console.status("Scoring the demo data ..."), quiet():
        for found in run_variants(options.categories, range(options.seeds), options.out / "runs"):
            runs.append(found)
            figures = ", ".join(f"{name} {100 * found.metrics[key]:.1f}" for key, name in SHOWN.items())
            console.print(f"{found.category}, {found.variant}, seed {found.seed}: {figures}")
    table = summarise(runs)
    _save(runs, table, options.out)
    show(table, console)
    console.print(f"{len(runs)} runs in {time.monotonic() - start:.0f} s. Heatmaps, figures, provenance: {options.out}")
    console.print("The demo model stands in for CLIP; its figures say nothing about real CLIP weights.")


def _save(runs: Sequence[DemoRun], table: pd.DataFrame, folder: Path) -> None:
    write_bytes_atomically(folder / "results.csv", to_frame(runs).to_csv(index=False).encode())
    write_bytes_atomically(folder / "summary.csv", table.to_csv().encode())
    provenance = {f"{run.category}, {run.variant}, seed {run.seed}": run.provenance for run in runs}
    write_bytes_atomically(folder / "provenance.json", json.dumps(provenance, indent=2).encode())
    examples = {(run.category, run.variant): run.examples for run in runs if run.seed == 0}
    chosen = choose_examples(examples, by="joint")
    write_bytes_atomically(folder / "heatmaps.png", draw_examples(chosen, list(VARIANTS)))
