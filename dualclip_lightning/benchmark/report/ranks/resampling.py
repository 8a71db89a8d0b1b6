"""Intervals over images: how the difference of two methods in image AUROC would vary with other images of the kind.

The images of every category are resampled with replacement (Efron & Tibshirani, 1993, ch. 13), and a resample has the
same images for all methods and seeds, because they are compared on the same images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dualclip_lightning.benchmark.report.ranks.blocks import PLACE, Blocks
from dualclip_lightning.benchmark.results import BenchmarkRun
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.metrics.bootstrap import CONFIDENCE, image_curves, resample
from dualclip_lightning.metrics.functional import Floats, auroc

RESAMPLED = "image_AUROC"
"""The metric that can be computed from images.csv."""


def join_images(runs: Sequence[BenchmarkRun], cells: pd.DataFrame) -> pd.DataFrame:
    """Return the image scores of all runs with the names that `blocks.join` gave their methods."""
    scores = [run.images[["key", "image_path", "label", "score"]].assign(run=number) for number, run in enumerate(runs)]
    names = finished(cells)[["run", "key", "method", *PLACE, "seed"]]
    return pd.concat(scores, ignore_index=True).merge(names, on=["run", "key"])


def resampled_means(images: pd.DataFrame, blocks: Blocks, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Return the mean image AUROC over blocks, in %: one row per resample and one column per method.

    Args:
        images: the scores, from `join_images`.
        blocks: the blocks and methods.
        resamples: number of resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: the methods were not scored on the same labelled images.
    """
    images = images[images["method"].isin(blocks.figures)]
    both_kinds = images.groupby(PLACE)["label"].transform("nunique") > 1
    drawn: dict[Any, list[pd.DataFrame]] = {}
    for number, (name, own) in enumerate(images[both_kinds].groupby(PLACE, sort=False)):
        block = name if blocks.unit == "category" else name[0]
        if block in blocks.figures.index:
            drawn.setdefault(block, []).append(_resampled(own, resamples, (seed, number), "/".join(map(str, name))))
    return 100 * _mean([_mean(categories) for categories in drawn.values()])


def _mean(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return sum(frames[1:], start=frames[0]) / len(frames)


def difference_intervals(drawn: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, list[float]]:
    """Return `low` and `high` of the 95 % percentile interval of A - B for every pair, in percentage points."""
    tail = 50 * (1 - CONFIDENCE)
    ends = [
        np.nanpercentile(drawn[a] - drawn[b], [tail, 100 - tail]) for a, b in zip(pairs["a"], pairs["b"], strict=True)
    ]
    return {"low": [float(low) for low, _ in ends], "high": [float(high) for _, high in ends]}


def _resampled(images: pd.DataFrame, resamples: int, seed: Sequence[int], name: str) -> pd.DataFrame:
    """Return the image AUROC of one category, mean over seeds: one row per resample and one column per method.

    The first resample, with every image once, is left out.
    """
    table = _aligned(images, name)
    label = table["label"].iloc[:, 0].to_numpy()
    weights = np.concatenate(list(resample(len(table), resamples, seed)))[1:]
    areas = {series: _areas(table["score"][series].to_numpy(), label, weights) for series in table["score"]}
    return pd.DataFrame(areas).T.groupby(level=0, sort=False).mean().T


def _areas(score: Floats, label: Floats, weights: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):  # resamples without normal or anomalous images have none
        return auroc(image_curves(score, label, weights))


def _aligned(images: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return score and label by image (rows) and by method and seed (columns)."""
    short = images.groupby(["method", "seed"])["image_path"].transform(_below_common_folder)
    images = images.assign(image=short).set_index(["image", "method", "seed"])[["label", "score"]].astype(float)
    repeated = images.index.duplicated().any()
    table = images[~images.index.duplicated()].unstack(["method", "seed"])  # noqa: PD010 (a pivot table drops gaps)
    if repeated or table.isna().any(axis=None) or table["label"].std(axis=1, ddof=0).any():
        msg = (
            f"Expected images.csv to hold the same labelled images of {name} for every method, but they differ. "
            "Compare without --bootstrap, or run the methods on the same data."
        )
        raise ValueError(msg)
    return table


def _below_common_folder(paths: pd.Series) -> list[str]:
    """Return paths relative to the folder that all have in common, because each run may have its own copy."""
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  # a text, as in images.csv
    return [os.path.relpath(path, folder) for path in paths]
