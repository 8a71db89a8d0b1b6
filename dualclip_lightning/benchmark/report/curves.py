"""ROC, PR and PRO curves of a run on common grids, so that they can be averaged over categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dualclip_lightning.metrics.functional import FPR_LIMIT, Curve, Floats, exact_curve
from dualclip_lightning.metrics.plots import CurveName, points
from dualclip_lightning.metrics.ranking import rank
from dualclip_lightning.metrics.regions import region_areas

GRID = 301
NEXT = 1e-9
"""A value below the recall that a single entry contributes."""


class Panel(NamedTuple):
    """One kind of curve."""

    title: str
    level: str
    """Level of the curve: "image" or "pixel"."""
    name: CurveName
    limit: float
    """Upper end of the abscissa."""

    @property
    def grid(self) -> Floats:
        """The abscissae [GRID] at which the curve is read."""
        return np.linspace(0, self.limit, GRID)


PANELS = (
    Panel("image ROC", "image", "roc", 1),
    Panel("image precision-recall", "image", "pr", 1),
    Panel("pixel ROC", "pixel", "roc", 1),
    Panel("pixel precision-recall", "pixel", "pr", 1),
    Panel("PRO", "pixel", "pro", FPR_LIMIT),
)
Lines = Mapping[tuple[str, Panel], Floats]
"""Ordinates [GRID] by method and panel."""


def image_curve(scores: NDArray[Any], labels: NDArray[Any]) -> Curve | None:
    """Return the curve of image scores [N], or None unless there are both normal and anomalous images."""
    labels = np.asarray(labels).astype(bool)
    if labels.all() or not labels.any():
        return None
    scores = np.asarray(scores, np.float64)
    return exact_curve(rank([scores], scores[labels], np.ones(labels.sum(), np.int32)))


def pixel_curve(maps: NDArray[Any], masks: NDArray[np.bool_]) -> Curve | None:
    """Return the curve of maps [N, H, W] against masks [N, H, W].

    Return None unless there are both normal and anomalous pixels. Maps are stored in half precision, so the curve may
    differ in the fourth decimal from the one that was measured.
    """
    if masks.all() or not masks.any():
        return None
    maps = np.asarray(maps, np.float32)
    areas = np.concatenate([region_areas(mask) for mask in masks])
    return exact_curve(rank([maps.ravel()], maps[masks], areas))


def read(curve: Curve, panel: Panel) -> Floats:
    """Return the ordinates of a curve [GRID], interpolated linearly between its points.

    The precision is that of the first threshold to reach the recall, so that the area is the average precision.
    """
    x, y = points(curve, panel.name)
    if panel.name == "pr":
        return y[np.searchsorted(x, np.maximum(panel.grid, NEXT) - NEXT / 2)]
    return np.interp(panel.grid, x, y)


def category_lines(
    images: pd.DataFrame, maps: Mapping[str, Mapping[str, NDArray[Any]]]
) -> dict[tuple[str, Panel], Floats]:
    """Compute all curves of one category and seed.

    Args:
        images: rows of the run's image scores: method, score, label.
        maps: `maps` and `masks` of the methods that kept them.
    """
    curves: dict[tuple[str, str], Curve | None] = {}
    for method, own in images.groupby("method", sort=False):
        curves[str(method), "image"] = image_curve(own["score"].to_numpy(), own["label"].to_numpy())
    for method, kept in maps.items():
        curves[method, "pixel"] = pixel_curve(kept["maps"], kept["masks"])
    return {
        (method, panel): read(curve, panel)
        for (method, level), curve in curves.items()
        if curve is not None
        for panel in PANELS
        if panel.level == level
    }


def mean_lines(categories: Iterable[Lines]) -> dict[tuple[str, Panel], Floats]:
    """Average the ordinates at each abscissa over categories; scores of different categories are never pooled.

    A method without a category that others have is labelled with its number of categories.
    """
    found: dict[tuple[str, Panel], list[Floats]] = {}
    for lines in categories:
        for key, ordinates in lines.items():
            found.setdefault(key, []).append(ordinates)
    most = {panel: max(len(each) for (_, p), each in found.items() if p == panel) for _, panel in found}
    return {
        (method if len(each) == most[panel] else f"{method} ({len(each)} of {most[panel]} categories)", panel):
            np.mean(each, axis=0)
        for (method, panel), each in found.items()
    }  # fmt: skip
