"""Means and spreads of a run: from one row per cell to one row per method.

A cell is one method on one category with one seed. Gaps are not hidden: a mean that rests on fewer cells than planned
is reported with their number, and is not ranked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from dualclip_lightning.benchmark.names import METRICS, ODD_MASKS, UNKEPT_MAPS, metrics_of, title
from dualclip_lightning.benchmark.status import DONE, finished
from dualclip_lightning.predict.limits import RATE

_REASONS = {
    "pixel_AUPIMO": "too few normal pixels, or too few thresholds among them",
    "image_F1@run": "too few images for a threshold, or too many with one highest score",
}
"""Reasons why a requested metric may not exist in any cell, apart from missing labels and masks."""
DIGITS = 1
"""Decimals of a percentage; figures that look the same in a table have the same rank."""
RANKED = 2
"""Number of ranks that are marked: the best and the second best."""


class DatasetSummary(NamedTuple):
    """Summary of cells of one data set. All frames have one row per method, in the order of the results."""

    dataset: str
    category: str | None
    """None for the mean over categories."""
    methods: pd.DataFrame
    """kind, seeds, seconds_per_image, peak_memory_mb, masks (the rule)."""
    mean: pd.DataFrame
    """Mean by metric over categories of the mean over seeds, in %; NaN where the metric does not exist."""
    spread: pd.DataFrame
    """Standard deviation (ddof 1) by metric over seeds of the mean over categories, in percentage points; NaN for
    fewer than two seeds without a gap."""
    found: pd.DataFrame
    """Number of cells by metric that have a figure."""
    planned: pd.DataFrame
    """Number of cells by metric that should have one."""
    rank: pd.DataFrame
    """Rank by metric: 1 the best, 2 the second best, 0 for others, for gaps, and where there is nothing to compare."""
    remarks: tuple[str, ...] = ()
    """Notes on the images that a reader needs to interpret the figures."""


def summaries(results: pd.DataFrame) -> Iterator[DatasetSummary]:
    """Yield, for every data set, the mean over its categories and then, if it has several, each of them."""
    for dataset, cells in results.groupby("dataset", sort=False):
        yield summarise(cells, str(dataset))
        if len(cells["category"].unique()) > 1:
            for category, part in cells.groupby("category", sort=False):
                yield summarise(part, str(dataset), str(category))


def summarise(cells: pd.DataFrame, dataset: str, category: str | None = None) -> DatasetSummary:
    """Summarise the cells of one data set, or of one of its categories."""
    order = cells["method"].unique()
    done = finished(cells)
    metrics = metrics_of(cells)
    figures = done.set_index("method")[metrics] * 100
    mean = done.groupby(["method", "category"])[metrics].mean().groupby("method").mean() * 100
    found = figures.notna().groupby("method").sum()
    planned = planned_cells(cells)
    mean, found = mean.reindex(order), found.reindex(order, fill_value=0)
    spread = seed_spread(done, metrics).reindex(order)
    methods = describe_methods(cells)
    comparable = (found == planned) & ~differing(methods, metrics)
    return DatasetSummary(dataset, category, methods, mean, spread, found, planned, ranks(mean.where(comparable)),
                   tuple(_remarks(cells)))  # fmt: skip


def planned_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Count the cells that should have a figure, by method and metric: the method's seeds x categories with the metric.

    A category lacks a metric when it has finished cells and none of them has a figure, for example without masks.
    """
    done, metrics = finished(cells), metrics_of(cells)
    best = done.groupby("category")[metrics].max()
    categories = best.reindex(cells["category"].unique())
    untried = pd.Series(~categories.index.isin(done["category"]), index=categories.index)
    exists = categories.notna() | pd.DataFrame(dict.fromkeys(metrics, untried))
    seeds = cells.groupby("method", sort=False)["seed"].nunique()
    return pd.DataFrame({metric: seeds * int(exists[metric].sum()) for metric in metrics})


def seed_spread(done: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Compute, by metric, the standard deviation over seeds of each method's category mean, in points.

    A seed with a gap does not count.
    """
    columns = ["method", "seed", "category"]
    if done.empty:
        return pd.DataFrame(columns=metrics, dtype=float)
    table = done.set_index(columns)[metrics].unstack("category")  # noqa: PD010 (a pivot table drops gaps)
    of_method = table.notna().groupby("method").transform("any")
    gaps = table.notna().ne(of_method)
    means = pd.DataFrame({name: table[name].mean(axis=1).mask(gaps[name].any(axis=1)) for name in metrics})
    return means.groupby("method").std(ddof=1) * 100


def describe_methods(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that describe a method: kind, seeds, mean seconds per image, peak memory in MB, masks."""
    groups = cells.groupby("method", sort=False)
    return pd.DataFrame(
        {
            "kind": groups["kind"].first().fillna("n/a"),
            "seeds": groups["seed"].nunique(),
            "seconds_per_image": groups["seconds_per_image"].mean(),
            "peak_memory_mb": groups["peak_memory_mb"].max(),
            "masks": groups["masks"].first().fillna("n/a"),
        }
    )


def _remarks(cells: pd.DataFrame) -> Iterator[str]:
    """Yield remarks on odd masks, maps that were not kept, metrics of no cell, and the label-free threshold."""
    done = finished(cells)
    for category, own in done.groupby("category", sort=False):
        said = [json.loads(text) for text in own["evaluation"].dropna()]
        found = {evaluation.get(key) for evaluation in said for key in (ODD_MASKS, UNKEPT_MAPS)} - {None}
        yield from (f"{category}: {sentence}" for sentence in sorted(found))
    for metric in metrics_of(cells)[len(METRICS) :]:
        if len(done) and done[metric].isna().all():
            reason = _REASONS.get(metric, "no labels or masks of both kinds")
            yield f"{title(metric)} was asked for, but no cell here has it: {reason}."
    if "image_F1@run" in done and done["image_F1@run"].notna().any():
        yield (
            f"The run threshold is the score above which the highest {RATE:.0%} of the images of a test set lie, with "
            "labels unseen; more images than those are never found."
        )


def differing(methods: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return, by method and metric, whether a pixel figure uses a different rule for masks than most methods."""
    known = methods["masks"][methods["masks"] != "n/a"]
    usual = known.mode()
    other = methods["masks"].isin(known) & (methods["masks"] != (usual[0] if len(usual) else None))
    return pd.DataFrame({metric: other & metric.startswith("pixel") for metric in metrics})


def ranks(mean: pd.DataFrame) -> pd.DataFrame:
    """Return 1 for the best and 2 for the second best of every column, as rounded for the tables, and 0 otherwise."""
    rank = mean.round(DIGITS).rank(ascending=False, method="dense")
    return rank.where((rank <= RANKED) & (mean.notna().sum() > 1), 0).astype(int)


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that did not finish: method, dataset, category, seed, error."""
    failed = results[results["status"] != DONE]
    return failed[["method", "dataset", "category", "seed", "error"]].reset_index(drop=True)
