"""A summary of bounded size of a stream of scores.

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
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualclip_lightning.metrics.functional import Floats
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
