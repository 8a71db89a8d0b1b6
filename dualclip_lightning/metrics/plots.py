"""Plots of the curves behind the metrics."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dualclip_lightning.metrics.functional import Curve, Floats, metrics

CurveName = Literal["roc", "pr", "pro"]
SHOWN = {"roc": ("auroc", "false-positive rate", "true-positive rate"),
         "pr": ("ap", "recall", "precision"),
         "pro": ("pro", "false-positive rate", "mean overlap of regions")}  # fmt: skip
"""The metric of each curve, and the labels of its axes."""
POINTS = 2000
"""Number of points of a plotted curve."""


def points(curve: Curve, name: CurveName) -> tuple[Floats, Floats]:
    """Return the abscissae and ordinates [K] of a plot."""
    rate, recall = curve.normal / curve.normal[-1], curve.anomalous / curve.anomalous[-1]
    if name == "roc":
        return rate, recall
    if name == "pro":
        return rate, curve.overlap / curve.overlap[-1]
    found = curve.anomalous + curve.normal
    return recall[found > 0], curve.anomalous[found > 0] / found[found > 0]


def plot_curves(curve: Curve, fpr_limit: float | None, name: CurveName | None, ax: Any) -> tuple[Any, Any]:
    """Draw one curve on one pair of axes, or all available curves next to each other; PRO up to its limit."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (slow to import, and rarely needed)

    names: list[CurveName] = [name] if name else ["roc", "pr", "pro"] if fpr_limit else ["roc", "pr"]
    if ax is not None and name is None:
        raise ValueError('Expected `curve` to be "roc", "pr" or "pro" where axes are given.')
    figure, axes = (ax.figure, ax) if ax is not None else plt.subplots(1, len(names), figsize=(4 * len(names), 4))
    for each, axis in zip(names, np.atleast_1d(axes), strict=True):
        _plot(curve, fpr_limit, each, axis)
    return figure, axes


def _plot(curve: Curve, fpr_limit: float | None, name: CurveName, axis: Any) -> None:
    if name == "pro" and fpr_limit is None:
        raise ValueError("There are no regions, so there is no PRO curve.")
    metric, abscissa, ordinate = SHOWN[name]
    x, y = points(curve, name)
    shown = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    axis.plot(x[shown], y[shown], label=f"{metric} {float(metrics(fpr_limit)[metric](curve)):.4f}")
    axis.set(xlabel=abscissa, ylabel=ordinate, xlim=(0, fpr_limit if name == "pro" else 1), ylim=(0, 1))
    axis.legend(loc="best")
