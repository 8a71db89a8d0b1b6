"""Provenance of the figures of a run, for its report."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from dualclip_lightning.benchmark.names import short_revision
from dualclip_lightning.benchmark.report.render import Table, TableCell
from dualclip_lightning.benchmark.status import finished

PROVENANCE = {"kind": "kind", "backbone": "backbone", "weights": "weights", "weights_sha256": "SHA-256 of the weights",
              "weights_origin": "weights from", "masks": "masks",
              "device": "device", "precision": "precision", "git_revision": "revision",
              "num_images": "images a category"}  # fmt: skip
"""Columns of the results and their headings."""
LONG = {"weights_sha256", "git_revision"}
"""Digests, which are shortened to their first characters."""


def provenance_table(results: pd.DataFrame) -> Table:
    """Return the table of what produced each method's figures; it lists several values where cells differ."""
    done = finished(results)
    rows = [
        [TableCell(str(method)), *(TableCell(_values(own[column])) for column in PROVENANCE)]
        for method, own in done.groupby("method", sort=False)
    ]
    notes = [*_transforms(done), _versions(done)]
    return Table("What produced the figures", ["method", *PROVENANCE.values()], rows, notes, 1 + len(PROVENANCE))


def method_settings(results: pd.DataFrame) -> dict[str, str]:
    """Return the arguments of each method that are not null, as text."""
    done = finished(results).drop_duplicates("method")
    return {
        row.method: ", ".join(
            f"{key}={value}" for key, value in json.loads(row.parameters).items() if value is not None
        )
        for row in done.itertuples()
    }


def _values(column: pd.Series) -> str:
    texts = (f"{value:.0f}" if isinstance(value, float) else str(value) for value in column.dropna().unique())
    return ", ".join(short_revision(text) if column.name in LONG else text for text in texts) or "n/a"


def _transforms(done: pd.DataFrame) -> Iterator[str]:
    for transform, own in done.groupby("transform", sort=False):
        yield f"Images of {', '.join(own['method'].unique())}: {' '.join(str(transform).split())}."


def _versions(done: pd.DataFrame) -> str:
    found: dict[str, set[str]] = {}
    for text in done["versions"].dropna().unique():
        for name, version in json.loads(text).items():
            found.setdefault(name, set()).add(version)
    return "Versions: " + ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in found.items()) + "."
