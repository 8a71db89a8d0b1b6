"""Sorted scores and counts above thresholds, which all exact metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[Any]
"""Scores of single or double precision."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

THREAD_SIZE = 2**19
"""Number of scores below which an additional thread is not worthwhile."""


class Ranking(NamedTuple):
    """The scores of a set of entries, normal and anomalous, in ascending order."""

    parts: Sequence[Scores]
    """Arrays of all scores, each sorted in itself, which is sufficient for counting."""
    anomalous: Scores
    """Scores of the anomalous entries [P]."""
    overlap: Floats
    """Sum of 1 / area of the region of an anomalous entry, over this entry and all higher ones [P + 1]."""

    @property
    def size(self) -> int:
        """Return the number of entries."""
        return sum(part.size for part in self.parts)

    @property
    def low(self) -> float:
        """Return the lowest score."""
        return float(min(part[0] for part in self.parts if part.size))

    @property
    def high(self) -> float:
        """Return the highest score."""
        return float(max(part[-1] for part in self.parts if part.size))

    def distinct_anomalous(self) -> tuple[Scores, Counts]:
        """Return the distinct scores of anomalous entries [K], ascending, and the start of each [K]."""
        changes = np.flatnonzero(self.anomalous[1:] != self.anomalous[:-1]) + 1
        first = np.concatenate([np.zeros(min(1, self.anomalous.size), np.int64), changes])
        return self.anomalous[first], first

    def entries_above(self, values: Scores) -> tuple[Counts, Counts]:
        """Return the numbers of entries above, and at or above, each of the ascending values [K]."""
        both = _in_threads(lambda part: _insertions(part, values), self.parts)
        return self.size - sum(right for _, right in both), self.size - sum(left for left, _ in both)

    def at_ranks(self, ranks: Counts) -> Scores:
        """Return the scores at the given ranks [K], where 0 is the highest."""
        whole = self.parts[0] if len(self.parts) == 1 else np.sort(np.concatenate(list(self.parts)))
        return whole[::-1][ranks]

    def counts(self, thresholds: Floats) -> Floats:
        """Return the normal entries, anomalous entries and overlap at or above each threshold [K, 3]."""
        first = _first_at_least(self.anomalous, thresholds)
        below = sum(_in_threads(lambda part: _first_at_least(part, thresholds), self.parts))
        anomalous = self.anomalous.size - first
        return np.stack([self.size - below - anomalous, anomalous, self.overlap[first]], axis=1)


def rank(scores: Sequence[Scores], anomalous: Scores, areas: NDArray[np.int32], threads: int = 1) -> Ranking:
    """Rank all scores (arrays [N_i]), given also those of anomalous entries [P] and the areas of their regions [P]."""
    joined = np.concatenate(scores)
    parts = np.array_split(joined, max(1, min(threads, joined.size // THREAD_SIZE)))
    _in_threads(np.ndarray.sort, parts)
    ordered, areas = _sort_with_areas(anomalous, areas)
    weights = 1 / areas.astype(np.float64)
    return Ranking(parts, ordered, np.append(np.cumsum(weights[::-1])[::-1], 0.0))


def _in_threads(function: Any, parts: Sequence[Scores]) -> list[Any]:
    """Apply a function to parts in threads; NumPy releases the GIL while it sorts and searches."""
    if len(parts) == 1:
        return [function(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(function, parts))


def _sort_with_areas(scores: Scores, areas: NDArray[np.int32]) -> tuple[Scores, NDArray[np.int32]]:
    """Sort scores, taking their areas along."""
    if scores.dtype != np.float32:
        order = np.argsort(scores)
        return scores[order], areas[order]
    # Packing single-precision scores and areas into integers with the order of the scores is faster than an argsort.
    bits = np.ascontiguousarray(scores).view(np.int32)
    packed = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32) | areas
    packed.sort()
    bits = (packed >> 32).astype(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32), packed.astype(np.int32)


def _insertions(part: Scores, values: Scores) -> tuple[Counts, Counts]:
    """Return the positions at which ascending values would be inserted before and after equal scores."""
    before = np.searchsorted(part, values)
    after = before + _equal(part, before, values)
    tied = np.flatnonzero(_equal(part, after, values) & (after > before))
    after[tied] = np.searchsorted(part, values[tied], side="right")
    return before, after


def _equal(part: Scores, places: Counts, values: Scores) -> NDArray[np.bool_]:
    return (part[np.minimum(places, part.size - 1)] == values) & (places < part.size)


def _first_at_least(ordered: Scores, thresholds: Floats) -> Counts:
    """Return the index of the first ascending score at or above each threshold, compared at the precision of both."""
    rounded = thresholds.astype(ordered.dtype)
    first = np.searchsorted(ordered, rounded)
    strict = np.flatnonzero(rounded < thresholds)
    first[strict] = np.searchsorted(ordered, rounded[strict], side="right")
    return first
