"""Rank tests of several methods over several blocks, as in Demšar (2006), JMLR 7, 1-30.

A block is what is judged as one: a data set, or a category of one. The tests assume that blocks are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f, friedmanchisquare, rankdata, studentized_range

from dualclip_lightning.metrics.functional import Floats

LEVEL = 0.05
"""Significance level of the critical difference."""
FEWEST_FOR_FRIEDMAN = 3
"""Minimum number of methods of Friedman's test; with two, it would be the sign test."""


class RankTest(NamedTuple):
    """Friedman's test, with the correction for ties, and Iman and Davenport's form of it.

    All entries are NaN for fewer than three methods, and if all methods are equal in every block.
    """

    statistic: float
    p_value: float
    """From the chi-squared distribution with one degree of freedom fewer than there are methods."""
    f_statistic: float
    """Iman and Davenport's statistic, which is less conservative; infinite if all blocks agree."""
    f_p_value: float


def mean_ranks(values: ArrayLike) -> Floats:
    """Return the mean rank of each method [K] from figures [N, K] of which higher is better.

    1 is the best; methods with the same figure in a block share the mean of their ranks.

    Example:
        >>> from dualclip_lightning.benchmark.report.ranks.significance import mean_ranks
        >>> mean_ranks([[0.9, 0.8, 0.7], [0.5, 0.5, 0.4]]).tolist()
        [1.25, 1.75, 3.0]
    """
    return rankdata(-np.asarray(values, float), axis=1).mean(axis=0)


def friedman(values: ArrayLike) -> RankTest:
    """Test whether all methods have the same mean rank, from figures [N, K] of N blocks and K methods."""
    values = np.asarray(values, float)
    blocks, methods = values.shape
    if methods < FEWEST_FOR_FRIEDMAN or (values == values[:, :1]).all():
        return RankTest(*[float("nan")] * 4)
    found = friedmanchisquare(*values.T)
    statistic = float(found.statistic)
    return RankTest(statistic, float(found.pvalue), *iman_davenport(statistic, blocks, methods))


def iman_davenport(statistic: float, blocks: int, methods: int) -> tuple[float, float]:
    """Return the F statistic of Friedman's statistic and its p-value (Iman & Davenport, 1980)."""
    rest = blocks * (methods - 1) - statistic
    f_statistic = (blocks - 1) * statistic / rest if rest > np.finfo(np.float32).eps else float("inf")
    return f_statistic, float(f.sf(f_statistic, methods - 1, (methods - 1) * (blocks - 1)))


@cache
def critical_difference(blocks: int, methods: int, level: float = LEVEL) -> float:
    """Return Nemenyi's critical difference: mean ranks at least this far apart differ significantly.

    The quantile is that of the studentized range for infinitely many degrees of freedom, divided by the root of 2.
    """
    quantile = studentized_range.ppf(1 - level, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * blocks)))


def holm(p_values: Sequence[float]) -> Floats:
    """Return p-values corrected for their number, in the given order (Holm, 1979); NaN stays NaN and does not count.

    Each p-value is multiplied by the number of those that are not smaller, and is never below a corrected smaller one.

    Example:
        >>> from dualclip_lightning.benchmark.report.ranks.significance import holm
        >>> holm([0.04, 0.01, 0.03]).round(2).tolist()
        [0.06, 0.03, 0.06]
    """
    given = np.asarray(p_values, float)
    order = np.argsort(given)[: np.count_nonzero(~np.isnan(given))]  # NaN sorts last
    corrected = np.full(given.shape, np.nan)
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1)
    return corrected


def indistinguishable(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the longest runs of methods whose mean ranks differ by less than `difference`.

    Args:
        ranks: mean ranks, ascending.
        difference: the critical difference.

    Returns:
        First and last position of every run of at least two methods that no other run contains.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(number for number, other in enumerate(ranks) if other - rank < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
