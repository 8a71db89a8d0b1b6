"""A summary of bounded size of a stream of scores, which gives every metric with a proven error bound.

The summary is a list of thresholds, and for each a lower and an upper bound of what lies at or above it: normal
entries, anomalous entries and overlap. Scores arrive in buffers, each of which is sorted:

1. The entries of the buffer at or above each threshold are counted and added to both bounds, which is exact.
2. If the cell between two thresholds has become heavy (more than a small share of all entries above it), the buffer's
   scores become thresholds. Their bounds for earlier entries are those of the neighbouring thresholds; later entries
   are counted exactly.
3. Beyond `BUDGET` thresholds, those are removed whose neighbouring cells together remain light; if that is not enough,
   heavier cells are allowed.

The cells therefore follow narrow or drifting scores, without assumptions on their range. The bounds
hold for every order of the stream, whichever thresholds are chosen. Two summaries are merged on the union of their
thresholds, where bounds add.

Error bound. Let a curve be dominated by another that is nowhere below it, read as anomalous against normal entries.
AUROC, PRO and F1max grow with domination. Within a cell the true curve rises from one threshold's point to the next,
so it dominates the path through the corner (normal entries of the next, anomalous entries of this threshold), and is
dominated by the path through the opposite corner. With lower bounds of what is anomalous and upper bounds of what is
normal on the first path, and the reverse on the second, the metrics of the two paths enclose the true ones. For
AP see `_ap_bounds`. A cell that holds only one value is a tie, and has no corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualclip_lightning.metrics.functional import FPR_LIMIT, Curve, Floats, metrics
from dualclip_lightning.metrics.ranking import Ranking

BUDGET = 65_536
"""Largest number of thresholds: 3.7 MB."""
LIGHT = 1 / 1500
"""Initial upper bound of the entries of a cell as a share of all entries above it; twice as many make it heavy."""
LIGHT_ANOMALOUS = 1 / 2000
"""The same bound for anomalous entries only."""
OVERLAP_STEPS = 4096
"""Initial upper bound of the overlap of a cell as a share of all overlap."""


class Summary(NamedTuple):
    """Bounds of the counts at or above K thresholds."""

    thresholds: Floats
    """Thresholds [K], descending from infinity to minus infinity."""
    lower: Floats
    """Lower bounds of normal entries, anomalous entries and overlap [K, 3]."""
    upper: Floats
    """Upper bounds [K, 3]; equal to `lower` in the last row, which has the totals."""

    @classmethod
    def empty(cls) -> Summary:
        """Return the summary of zero scores: a single cell for all scores to come."""
        return cls(np.array([np.inf, -np.inf]), np.zeros((2, 3)), np.zeros((2, 3)))

    def at(self, thresholds: Floats) -> Summary:
        """Return the bounds at other thresholds: those of the nearest thresholds above and below."""
        above = np.searchsorted(-self.thresholds, -thresholds, side="right") - 1
        below = np.searchsorted(-self.thresholds, -thresholds, side="left")
        return Summary(thresholds, self.lower[above], self.upper[below])

    def plus(self, counts: Floats) -> Summary:
        """Return a copy with counts [K, 3] added at or above each threshold."""
        return Summary(self.thresholds, self.lower + counts, self.upper + counts)

    def keep(self, chosen: NDArray[np.bool_]) -> Summary:
        """Return a copy with some of the thresholds."""
        return Summary(*(column[chosen] for column in self))

    @property
    def ties(self) -> NDArray[np.bool_]:
        """Mark the cells that contain a single value [K - 1]."""
        return np.nextafter(self.thresholds[1:], np.inf) == self.thresholds[:-1]


def observe(summary: Summary, ranking: Ranking, budget: int = BUDGET) -> Summary:
    """Return the summary with the entries of a sorted buffer added."""
    if not ranking.size:
        return summary
    counted = summary.plus(ranking.counts(summary.thresholds))
    chosen = _candidates(ranking)
    cells = np.searchsorted(-counted.thresholds, -chosen, side="left") - 1
    new = _heavy(counted, 2)[cells] & (counted.thresholds[cells + 1] != chosen)
    chosen, cells = chosen[new], cells[new]
    earlier = Summary(chosen, summary.lower[cells], summary.upper[cells + 1])
    return prune(_sorted(counted, earlier.plus(ranking.counts(chosen))), budget)


def merge(first: Summary, second: Summary) -> Summary:
    """Merge two summaries."""
    thresholds = _distinct(np.sort(np.concatenate([first.thresholds, second.thresholds])))[::-1]
    first, second = first.at(thresholds), second.at(thresholds)
    return Summary(thresholds, first.lower + second.lower, first.upper + second.upper)


def prune(summary: Summary, budget: int = BUDGET) -> Summary:
    """Drop every second threshold between light cells until the budget is met, raising the limit of light cells."""
    factor = 1
    while summary.thresholds.size > budget:
        heavy = _heavy(summary, factor, span=2)
        keep = np.ones(summary.thresholds.size, np.bool_)
        keep[1:-1:2] = heavy[::2]
        if keep.sum() > 0.9 * keep.size:
            factor *= 2
        summary = summary.keep(keep)
    return summary


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


def pack(summary: Summary) -> Floats:
    """Pack a summary into one row of numbers [7 K] for a state of a metric; rows may be concatenated."""
    return np.column_stack(summary).ravel()


def unpack(numbers: Floats) -> list[Summary]:
    """Unpack the summaries from concatenated rows."""
    table = numbers.reshape(-1, 7)
    starts = np.flatnonzero(table[:, 0] == np.inf)[1:]
    return [Summary(part[:, 0], part[:, 1:4], part[:, 4:]) for part in np.split(table, starts) if part.size]


def _sorted(first: Summary, second: Summary) -> Summary:
    joined = Summary(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    order = np.argsort(-joined.thresholds, kind="stable")
    return Summary(*(column.take(order, axis=0) for column in joined))


def _heavy(summary: Summary, factor: int, span: int = 1) -> NDArray[np.bool_]:
    """Mark runs of `span` cells that may exceed a multiple of the light share of the entries above their lower end."""
    inside, above = summary.upper[span:] - summary.lower[:-span], summary.upper[span:]
    entries = inside[:, 0] + inside[:, 1] > factor * LIGHT * (above[:, 0] + above[:, 1])
    anomalous = inside[:, 1] > factor * LIGHT_ANOMALOUS * above[:, 1]
    overlap = inside[:, 2] > factor / OVERLAP_STEPS * summary.upper[-1, 2]
    return entries | anomalous | overlap


def _candidates(ranking: Ranking) -> Floats:
    """Return thresholds that cut a buffer into light cells.

    The highest values, and values too frequent to be cut, get a second threshold right above them, so that their cell
    is a tie.
    """
    everything = ranking.at_ranks(_spaced(ranking.size, LIGHT))
    anomalous = ranking.anomalous[::-1][_spaced(ranking.anomalous.size, LIGHT_ANOMALOUS)]
    steps = np.linspace(0, ranking.overlap[0], OVERLAP_STEPS)
    places = np.searchsorted(-ranking.overlap[:-1], -steps)
    overlap = ranking.anomalous[np.minimum(places, ranking.anomalous.size - 1)] if places.any() else places[:0]
    parts = [part[::-1].astype(np.float64) for part in (everything, anomalous, overlap)]
    single = [np.append(part[1:][part[1:] == part[:-1]], part[-round(1 / LIGHT) :]) for part in parts[:2]]
    found = _distinct(np.sort(np.concatenate([*parts, *(np.nextafter(values, np.inf) for values in single)])))
    return found[found < np.inf]


@lru_cache(maxsize=16)
def _spaced(count: int, share: float) -> NDArray[np.int64]:
    """Return ranks from 0 to count - 1, whose distances are at most a share of the rank, or 1."""
    dense = np.arange(min(count, round(1 / share)))
    if dense.size == count:
        return dense
    grown = np.exp(np.arange(np.log(dense.size), np.log(count), share)).astype(np.int64)
    return _distinct(np.concatenate([dense, grown, [count - 1]]))


def _distinct(ascending: NDArray[Any]) -> NDArray[Any]:
    return ascending[np.append(True, ascending[1:] != ascending[:-1])]


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

    Each anomalous entry of cell j has a precision of at most h_j, all anomalous entries of the cell before its normal
    ones, and at least l_j, all its normal ones before it. With T_j the anomalous entries above the cell, AP P is at
    most the sum of (T_{j+1} - T_j) h_j = P h_last + sum of T_j (h_{j-1} - h_j), in which T_j takes the bound of the
    worse side. At least: likewise with l_j.
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
