"""Bounds of every metric from a summary.

A curve of anomalous against normal entries dominates another if it is nowhere below it. AUROC, PRO and F1max of the
dominating curve are at least as large. Within a cell the true curve rises from one threshold's point to the next,
so it dominates the path through the corner (normal entries of the next, anomalous entries of this threshold), and is
dominated by the path through the opposite corner. With lower bounds of the anomalous entries and upper bounds of the
normal ones on the first path, and the reverse on the second, the metrics of the two paths enclose the true ones. For
AP see `_ap_bounds`. A cell that contains only one value is a tie, and has no corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualclip_lightning.metrics.functional import FPR_LIMIT, Curve, Floats, metrics
from dualclip_lightning.metrics.summary.cells import Summary


def bounds(
    summary: Summary, fpr_limit: float | None = FPR_LIMIT, further_limits: Sequence[float] = ()
) -> dict[str, tuple[float, float, float]]:
    """Return an estimate, a lower and an upper bound of each metric; entries of both kinds are required."""
    low, high = _corners(summary, summary.upper, summary.lower), _corners(summary, summary.lower, summary.upper)
    middle = curve(summary)
    found = {
        n: (float(f(middle)), float(f(low)), float(f(high))) for n, f in metrics(fpr_limit, further_limits).items()
    }
    found["ap"] = (_ap_estimate(summary), *_ap_bounds(summary))
    return found


def curve(summary: Summary) -> Curve:
    """Return the curve half-way between the bounds."""
    return Curve(*((summary.lower + summary.upper).T / 2))


def _corners(summary: Summary, normal: Floats, anomalous: Floats) -> Curve:
    """Return the path through the given bounds of normal and anomalous entries, including possible corners."""
    rows = np.stack([normal[:, 0], anomalous[:, 1], anomalous[:, 2]])
    path = np.repeat(rows, 2, axis=1)[:, :-1]
    free = ~summary.ties
    if normal is summary.upper:
        path[0, 1::2][free] = rows[0, 1:][free]
    else:
        path[1:, 1::2][:, free] = rows[1:, 1:][:, free]
    return Curve(*path)


def _ap_estimate(summary: Summary) -> float:
    """Estimate AP by assuming that the anomalous entries of a cell are spread evenly among its normal ones."""
    normal, anomalous, _ = curve(summary)
    inside = np.diff(anomalous)
    free = ~summary.ties
    found = np.where(free, anomalous[:-1] + (inside + 1) / 2, anomalous[1:])
    false = np.where(free, (normal[:-1] + normal[1:]) / 2, normal[1:])
    precision = np.divide(found, found + false, out=np.zeros_like(found), where=inside > 0)
    return float((inside * precision).sum() / anomalous[-1])


def _ap_bounds(summary: Summary) -> tuple[float, float]:
    """Return lower and upper bounds of AP.

    Each anomalous entry of cell j has a precision of at most h_j, if all anomalous entries of the cell precede its
    normal ones, and of at least l_j, if all its normal entries come first. With T_j anomalous entries above the cell,
    P * AP is at most the sum of (T_{j+1} - T_j) h_j = P h_last + sum of T_j (h_{j-1} - h_j), where each T_j takes its
    less favourable bound. The lower bound follows likewise from l_j.
    """
    (normal, anomalous), (most_normal, most_anomalous) = summary.lower[:, :2].T, summary.upper[:, :2].T
    total = anomalous[-1]
    best = most_anomalous[1:] / np.maximum(most_anomalous[1:] + np.where(summary.ties, normal[1:], normal[:-1]), 1)
    least = np.maximum(anomalous[:-1] + 1, np.where(summary.ties, anomalous[1:], 0))
    worst = least / (least + most_normal[1:])
    sides = anomalous[1:-1], most_anomalous[1:-1]
    high = total * best[-1] + np.maximum(*(side * -np.diff(best) for side in sides)).sum()
    low = total * worst[-1] + np.minimum(*(side * -np.diff(worst) for side in sides)).sum()
    return float(low / total), float(high / total)
