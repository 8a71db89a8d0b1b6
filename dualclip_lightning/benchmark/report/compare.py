"""`dualclip compare`: a comparison of two runs, cell by cell. The ranks of any number of runs are in `ranks`.

Only cells that finished in both runs count: the same method, data set, category and seed. Their differences B - A are
averaged over seeds, then over categories. The interval and the test are computed over categories, because all seeds of
one category see the same images; both therefore generalise only to other, similar categories.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.report.ablations import flat
from dualclip_lightning.benchmark.report.differences import (
    FEWEST_FOR_INTERVAL,
    FEWEST_FOR_TEST,
    differences,
    pair,
    unpaired,
)
from dualclip_lightning.benchmark.report.ranks.command import compare_methods
from dualclip_lightning.benchmark.report.render import Table, TableCell, latex, markdown, screen, terminal
from dualclip_lightning.benchmark.report.summary import DIGITS
from dualclip_lightning.benchmark.results import BenchmarkRun, load_run
from dualclip_lightning.utilities.files import cannot_write, write_bytes_atomically

DIGEST_LENGTH = 12
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


def provenance_differences(pairs: pd.DataFrame) -> dict[tuple[str, str, str], list[str]]:
    """Return what differs between the runs: (what, value in A, value in B) with the methods to which it applies."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for method, cells in pairs.groupby("method", sort=False):
        first, second = (_provenance(cells, ending) for ending in ("_a", "_b"))
        for what in dict.fromkeys([*first, *second]):
            values = (what, first.get(what, "none"), second.get(what, "none"))
            if values[1] != values[2]:
                found.setdefault(values, []).append(str(method))
    return found


def compare(first: BenchmarkRun, second: BenchmarkRun) -> tuple[list[Table], pd.DataFrame]:
    """Return the tables that compare two runs, and the differences as numbers.

    Raises:
        ValueError: no cell finished in both runs.
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
    """Yield a note for each method whose pixel figures also differ because of the masks."""
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
    """Return everything that describes how the cells were produced, as text."""
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


def _save(folder: Path, tables: list[Table], files: Mapping[str, bytes]) -> None:
    texts = {
        "compare.md": "\n".join(map(markdown, tables)),
        "compare.tex": "\n".join(latex(table, f"tab:compare_{number}") for number, table in enumerate(tables)),
    }
    for name, content in {**{name: text.encode() for name, text in texts.items()}, **files}.items():
        write_bytes_atomically(folder / name, content)


def _compare_two(options: argparse.Namespace) -> tuple[list[Table], dict[str, bytes]]:
    first, second = options.runs
    tables, found = compare(load_run(first), load_run(second))
    return tables, {"compare.csv": found.to_csv(index=False).encode()}


def run(options: argparse.Namespace) -> int:
    """Print the comparison of two runs, or the ranks of the methods of any number of runs.

    Return 2 if they cannot be compared, 3 if the files cannot be written, and 0 otherwise.
    """
    try:
        tables, files = compare_methods(options) if options.ranks else _compare_two(options)
    except (OSError, ValueError) as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return 2
    failure = None
    try:
        if options.out is not None:
            _save(options.out, tables, files)
    except OSError as error:
        failure = f"dualclip: {cannot_write(error, options.out)} Choose another --out."
    console = screen()
    for table in tables:
        console.print(*terminal(table, console.width))
    if failure:
        print(failure, file=sys.stderr)
    return 3 if failure else 0
