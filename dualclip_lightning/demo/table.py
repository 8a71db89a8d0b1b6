"""The table that `dualclip demo` prints: one row per category, with the figures of each variant of the method."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table

from dualclip_lightning.demo.data.assets import MATERIALS, REAL

SHOWN = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC", "pixel_PRO": "PRO"}
"""The metrics of the table and their titles."""


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds by category and variant, then means over the materials, the real categories, and all.

    Args:
        frame: one row per run, with `category`, `variant` and the displayed metrics.
    """
    table = frame.pivot_table(index="category", columns="variant", values=list(SHOWN), aggfunc="mean", sort=False)
    table = table.swaplevel(axis=1)[[(variant, metric) for variant in frame["variant"].unique() for metric in SHOWN]]
    parts = {"mean of materials": table.index.isin(MATERIALS), "mean of real": table.index.isin(REAL)}
    means = {name: table[chosen].mean() for name, chosen in parts.items() if 0 < chosen.sum() < len(table)}
    return pd.concat([table, pd.DataFrame(means | {"mean": table.mean()}).T])


def show(summary: pd.DataFrame, console: Console) -> None:
    """Print the summary with the best figure among the variants in bold."""
    caption = "(real): photographs of real defects; those of the materials are drawn"
    table = Table(title=f"{', '.join(SHOWN.values())} in %, demo model on demo data", caption=caption, show_edge=False)
    table.add_column("category")
    variants = summary.columns.unique(level=0)
    for variant in variants:
        table.add_column(variant, justify="center")
    for category, row in summary.iterrows():
        best = row.groupby(level=1).transform("max")
        cells: dict[str, list[str]] = {variant: [] for variant in variants}
        for variant, metric in row.index:
            text = f"{100 * row[variant, metric]:5.1f}"
            cells[variant].append(f"[bold]{text}[/]" if row[variant, metric] == best[variant, metric] else text)
        table.add_row(
            f"{category} (real)" if category in REAL else str(category),
            *(" ".join(cell) for cell in cells.values()),
        )
    console.print(table)
