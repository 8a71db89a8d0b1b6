"""Results of a run as Parquet, with the type of every column, beside the CSV files."""

from __future__ import annotations

import io
from pathlib import Path

from dualclip_lightning.benchmark.results import TEXTS, read_table
from dualclip_lightning.utilities.files import write_bytes_atomically

TABLES = ("results", "images")
"""Names of the tables, without ending."""
WHOLE_NUMBERS = ("seed", "num_images", "label")
"""Columns of whole numbers, which may be missing."""


def write_parquet(folder: Path) -> None:
    """Write results.parquet and images.parquet from results.csv and images.csv of a run.

    Texts are strings, also if all are missing, and numbers are numbers: float64, or int64 for seeds, labels and counts.
    """
    for name in TABLES:
        frame = read_table(folder / f"{name}.csv")
        types = {column: "string" if column in TEXTS else "float64" for column in frame}
        types |= {column: "Int64" for column in WHOLE_NUMBERS if column in types}
        buffer = io.BytesIO()
        frame.astype(types).to_parquet(buffer, engine="pyarrow", index=False)
        write_bytes_atomically(parquet_path(folder, name), buffer.getvalue())


def remove_parquet(folder: Path) -> None:
    """Remove the Parquet files of an earlier run, which would no longer match the CSV files."""
    for name in TABLES:
        parquet_path(folder, name).unlink(missing_ok=True)


def parquet_path(folder: Path, name: str) -> Path:
    """Return the path of a table."""
    return folder / f"{name}.parquet"
