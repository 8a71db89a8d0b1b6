"""Differences between the cells of two runs, with an interval and a test over categories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from dualclip_lightning.benchmark.names import metrics_of
from dualclip_lightning.benchmark.status import finished

CELL = ["method", "dataset", "category", "seed"]


RESAMPLES, CONFIDENCE = 9999, 0.95


FEWEST_FOR_INTERVAL, FEWEST_FOR_TEST = 5, 6
"""Minimum numbers of categories; with fewer than six that differ, the signed-rank p-value cannot fall below 0.05."""


class Difference(NamedTuple):
    """Difference between B and A over categories, in percentage points."""

    mean: float
    low: float
    """95 % percentile-bootstrap interval of the mean; NaN for fewer than five categories."""
    high: float
    p_value: float
    """Wilcoxon's signed-rank test, two-sided; NaN for fewer than six categories that differ."""


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that finished in both runs; columns of the first end in `_a`, those of the second in `_b`."""
    return finished(first).merge(finished(second), on=CELL, suffixes=("_a", "_b"), validate="one_to_one")


def paired_difference(by_category: np.ndarray, seed: int = 0) -> Difference:
    """Compute the interval and the test of category differences [C], in points; the seed fixes the resampling."""
    low = high = float("nan")
    if len(by_category) >= FEWEST_FOR_INTERVAL:
        resampled = np.random.default_rng(seed).choice(by_category, (RESAMPLES, len(by_category))).mean(axis=1)
        low, high = np.percentile(resampled, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Difference(float(by_category.mean()), float(low), float(high), signed_rank(by_category))


def signed_rank(changes: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; NaN for fewer than six changes that are not 0."""
    return float(wilcoxon(changes).pvalue) if np.count_nonzero(changes) >= FEWEST_FOR_TEST else float("nan")


def differences(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per data set, method and metric.

    A row has A and B in %, their difference, and the number of categories and cells that count.
    """
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
    """Return the columns that both runs have."""
    return [name.removesuffix("_a") for name in pairs if str(name).endswith("_a")]


def unpaired(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    """Yield one sentence per method on the cells that only one of the runs finished."""
    for name, own, other in (("A", first, second), ("B", second, first)):
        done = finished(other).set_index(CELL).index
        cells = finished(own)
        lonely = cells[~cells.set_index(CELL).index.isin(done)]
        for method, count in lonely["method"].value_counts(sort=False).items():
            yield f"{method}: {count} cells finished only in {name}; they are left out."
