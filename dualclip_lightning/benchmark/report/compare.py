"""`dualclip compare RUN_A RUN_B`: two runs side by side, cell by cell.

Only cells that finished in both runs count: the same method, data set, category and seed. Their differences B - A are
averaged over seeds, then over categories. Categories are what the interval and the test resample, because seeds of one
category see the same images; so both speak of other categories like these, and of nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from dualclip_lightning.benchmark.names import metrics_of, title
from dualclip_lightning.benchmark.report.ablations import flat
from dualclip_lightning.benchmark.report.render import Table, TableCell, latex, markdown, screen, terminal
from dualclip_lightning.benchmark.report.summary import DIGITS
from dualclip_lightning.benchmark.results import BenchmarkRun, load_run
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.utilities.files import cannot_write, write_bytes_atomically

CELL = ["method", "dataset", "category", "seed"]
RESAMPLES, CONFIDENCE = 9999, 0.95
DIGEST_LENGTH = 12
FEWEST_FOR_INTERVAL, FEWEST_FOR_TEST = 5, 6
"""Categories; with fewer than six that differ, the signed-rank test cannot fall below 0.05 whatever the figures are."""
PROVENANCE = (
    "model",
    "kind",
    "backbone",
    "weights",
    "weights_sha256",
    "transform",
    "masks",
    "device",
    "precision",
    "git_revision",
)


class Difference(NamedTuple):
    """How far B is from A over categories, in percentage points."""

    mean: float
    low: float
    """95 % percentile-bootstrap interval of the mean; NaN for fewer than five categories."""
    high: float
    p_value: float
    """Wilcoxon's signed-rank test, two-sided; NaN for fewer than six categories that differ."""


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The cells that finished in both runs, the columns of the first with the ending `_a`, of the second with `_b`."""
    return finished(first).merge(finished(second), on=CELL, suffixes=("_a", "_b"), validate="one_to_one")


def paired_difference(by_category: np.ndarray, seed: int = 0) -> Difference:
    """Interval and test of the differences of categories [C], in points; the resampling comes from the seed."""
    low = high = p_value = float("nan")
    if len(by_category) >= FEWEST_FOR_INTERVAL:
        resampled = np.random.default_rng(seed).choice(by_category, (RESAMPLES, len(by_category))).mean(axis=1)
        low, high = np.percentile(resampled, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    if np.count_nonzero(by_category) >= FEWEST_FOR_TEST:
        p_value = wilcoxon(by_category).pvalue
    return Difference(float(by_category.mean()), float(low), float(high), float(p_value))


def differences(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a data set, method and metric: A and B in %, their difference, and how many categories and cells count."""
    rows = []
    for (dataset, method), cells in pairs.groupby(["dataset", "method"], sort=False):
        for metric in metrics_of(_common(cells)):
            both = cells[["category", f"{metric}_a", f"{metric}_b"]].dropna()
            if len(both):
                means = 100 * both.groupby("category").mean()
                change = (means[f"{metric}_b"] - means[f"{metric}_a"]).round(9).to_numpy()
                rows.append({
                    "dataset": dataset, "method": method, "metric": metric, "a": means[f"{metric}_a"].mean(),
                    "b": means[f"{metric}_b"].mean(), **paired_difference(change)._asdict(),
                    "better": int((change > 0).sum()), "worse": int((change < 0).sum()),
                    "categories": len(change), "cells": len(both),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _common(pairs: pd.DataFrame) -> list[str]:
    """The columns that both runs have."""
    return [name.removesuffix("_a") for name in pairs if str(name).endswith("_a")]


def provenance_differences(pairs: pd.DataFrame) -> dict[tuple[str, str, str], list[str]]:
    """What was not the same in both runs: (what, in A, in B) with the methods that it holds for."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for method, cells in pairs.groupby("method", sort=False):
        first, second = (_provenance(cells, ending) for ending in ("_a", "_b"))
        for what in dict.fromkeys([*first, *second]):
            values = (what, first.get(what, "none"), second.get(what, "none"))
            if values[1] != values[2]:
                found.setdefault(values, []).append(str(method))
    return found


def unpaired(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    """What one run finished and the other did not, a sentence a method."""
    for name, own, other in (("A", first, second), ("B", second, first)):
        done = finished(other).set_index(CELL).index
        cells = finished(own)
        lonely = cells[~cells.set_index(CELL).index.isin(done)]
        for method, count in lonely["method"].value_counts(sort=False).items():
            yield f"{method}: {count} cells finished only in {name}; they are left out."


def compare(first: BenchmarkRun, second: BenchmarkRun) -> tuple[list[Table], pd.DataFrame]:
    """The tables of two runs, and the differences as numbers.

    Raises:
        ValueError: no cell finished in both.
    """
    pairs = pair(first.frame, second.frame)
    if pairs.empty:
        msg = (
            "Expected the two runs to share a method, data set, category and seed that finished in both, but they "
            "share none. Give the methods the same labels in both configurations."
        )
        raise ValueError(msg)
    found = differences(pairs)
    notes = [f"A is {first.folder}, B is {second.folder}.", *unpaired(first.frame, second.frame),
             *_other_masks(pairs), *_method_notes(found)]  # fmt: skip
    tables = [
        Table(f"{dataset}: B against A (in %)", list(HEADINGS), [list(_row(row)) for row in own.itertuples()], notes, 2)
        for dataset, own in found.groupby("dataset", sort=False)
    ]
    return [*tables, _provenance_table(pairs)], found


def _other_masks(pairs: pd.DataFrame) -> Iterator[str]:
    """Which differences of pixel figures come from the masks, too."""
    rules = pairs.groupby("method", sort=False)[["masks_a", "masks_b"]].first().dropna()
    for method, (a, b) in rules[rules["masks_a"] != rules["masks_b"]].iterrows():
        yield f"{method}: {a} masks in A and {b} masks in B, so its pixel figures are not of one protocol."


HEADINGS = ("method", "metric", "A", "B", "B - A", "95 % interval", "p", "better/worse", "categories", "cells")


def _row(row: Any) -> Iterator[TableCell]:
    yield TableCell(row.method)
    yield TableCell(str(title(row.metric)))
    yield TableCell(f"{row.a:.{DIGITS}f}")
    yield TableCell(f"{row.b:.{DIGITS}f}")
    yield TableCell(f"{row.mean:+.2f}")
    yield TableCell("n/a" if np.isnan(row.low) else f"{row.low:+.2f} to {row.high:+.2f}")
    yield TableCell("n/a" if np.isnan(row.p_value) else f"{row.p_value:.2g}")
    yield from map(TableCell, (f"{row.better}/{row.worse}", str(row.categories), str(row.cells)))


def _method_notes(found: pd.DataFrame) -> Iterator[str]:
    yield "B - A: mean over categories of the mean over seeds of paired cells, in percentage points."
    if found["low"].notna().any():
        yield "The interval resamples categories: it says how the mean would vary with other categories like these."
    if found["low"].isna().any():
        yield f"No interval for fewer than {FEWEST_FOR_INTERVAL} categories: too few to resample."
    if found["p_value"].notna().any():
        yield f"p: Wilcoxon's signed-rank test over categories, not corrected for the {len(found)} rows."
    if found["p_value"].isna().any():
        yield f"No test for fewer than {FEWEST_FOR_TEST} categories that differ: it could not fall below 0.05."


def _provenance(cells: pd.DataFrame, ending: str) -> dict[str, str]:
    """Everything that describes how some cells came about, as text."""
    plain = {name: cells[name + ending].dropna().astype(str).unique() for name in PROVENANCE}
    images = cells.groupby("category")[[f"num_images{ending}", f"images_sha256{ending}"]].first()
    described = {name: ", ".join(sorted(values)) for name, values in plain.items()}
    described |= {
        f"images of {category}": f"{count:g}" if pd.isna(digest) else f"{count:g} ({digest[:DIGEST_LENGTH]})"
        for category, count, digest in images.itertuples()
        if pd.notna(count)
    }
    for column in ("parameters", "evaluation", "data_arguments", "versions"):
        leaves = pd.DataFrame([flat(json.loads(text)) for text in cells[column + ending].dropna().unique()])
        for name in leaves:
            described[f"{column}: {name}"] = ", ".join(sorted({str(value) for value in leaves[name]}))
    return described


def _provenance_table(pairs: pd.DataFrame) -> Table:
    everything = pairs["method"].nunique()
    rows = [
        [*map(TableCell, (what, a, b, "all" if len(methods) == everything else ", ".join(methods)))]
        for (what, a, b), methods in provenance_differences(pairs).items()
    ]
    notes = [] if rows else ["Nothing recorded differs: weights, images, arguments, versions, device and revision."]
    return Table("What was not the same", ["what", "A", "B", "methods"], rows, notes, 4)


def _save(folder: Path, tables: list[Table], found: pd.DataFrame) -> None:
    contents: Mapping[str, str] = {
        "compare.md": "\n".join(map(markdown, tables)),
        "compare.tex": "\n".join(latex(table, f"tab:compare_{number}") for number, table in enumerate(tables)),
        "compare.csv": found.to_csv(index=False),
    }
    for name, content in contents.items():
        write_bytes_atomically(folder / name, content.encode())


def run(options: argparse.Namespace) -> int:
    """Print the comparison of two runs; 2 if they cannot be compared, 3 if the files cannot be written, else 0."""
    try:
        tables, found = compare(load_run(options.run_a), load_run(options.run_b))
    except (OSError, ValueError) as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return 2
    failure = None
    try:
        if options.out is not None:
            _save(options.out, tables, found)
    except OSError as error:
        failure = f"dualclip: {cannot_write(error, options.out)} Choose another --out."
    console = screen()
    for table in tables:
        console.print(*terminal(table, console.width))
    if failure:
        print(failure, file=sys.stderr)
    return 3 if failure else 0
