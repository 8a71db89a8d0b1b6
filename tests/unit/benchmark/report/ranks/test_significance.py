"""Rank tests, compared with the example of Demšar (2006, JMLR 7, tables 5 and 6, pp. 9-14) and with scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import f, friedmanchisquare, rankdata

from dualclip_lightning.benchmark.report.ranks.significance import (
    critical_difference,
    friedman,
    holm,
    iman_davenport,
    indistinguishable,
    mean_ranks,
)

# AUC of C4.5, with m, with cf, and with both, on 14 data sets. The last two values of "voting" are printed as equal,
# but have different ranks in the paper.
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.97501, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_the_published_mean_ranks():
    assert mean_ranks(AUC) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_the_published_statistic_is_ours_without_the_correction_for_ties():
    ties = [np.unique(row, return_counts=True)[1] for row in AUC]
    correction = 1 - sum((count**3 - count).sum() for count in ties) / (14 * (4**3 - 4))
    found = friedman(AUC)
    assert found.statistic * correction == pytest.approx(9.28, abs=5e-3)
    assert (found.statistic, found.p_value) == pytest.approx(tuple(friedmanchisquare(*AUC.T)))


def test_the_published_f_statistic():
    statistic, p_value = iman_davenport(9.28, blocks=14, methods=4)
    assert statistic == pytest.approx(3.69, abs=5e-3)
    assert statistic > 2.85  # the published critical value at 5 %
    assert p_value == pytest.approx(1 - f.cdf(statistic, 3, 39))
    assert p_value < 0.05


@pytest.mark.parametrize(
    ("methods", "quantile"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_the_published_quantiles(methods, quantile):
    unscaled = critical_difference(14, methods) / np.sqrt(methods * (methods + 1) / (6 * 14))
    assert unscaled == pytest.approx(quantile, abs=1.1e-3)


def test_the_published_critical_differences():
    assert critical_difference(14, 4) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(14, 4, level=0.1) == pytest.approx(1.12, abs=5e-3)


def test_methods_that_always_rank_alike_differ_infinitely():
    found = friedman([[3, 2, 1], [0.9, 0.5, 0.1], [7, 6, 5], [3, 2, 1], [8, 7, 0]])
    assert found.statistic == pytest.approx(5 * 2)  # the largest possible value
    assert (found.f_statistic, found.f_p_value) == (np.inf, 0)


@pytest.mark.parametrize("figures", [np.ones((6, 4)), np.arange(12).reshape(6, 2)])
def test_equal_methods_and_two_methods_have_no_test(figures):
    assert np.isnan(friedman(figures)).all()


def test_ranks_count_from_the_highest_figure_and_are_shared():
    figures = np.random.default_rng(0).integers(0, 4, (9, 5))
    by_hand = np.mean([[1 + (row > x).sum() + ((row == x).sum() - 1) / 2 for x in row] for row in figures], axis=0)
    assert mean_ranks(figures) == pytest.approx(by_hand)
    assert mean_ranks(figures) == pytest.approx(6 - rankdata(figures, axis=1).mean(axis=0))


def test_holm_rejects_what_the_published_example_rejects():
    # C4.5 against each of the others, p. 14: the first two are below 0.05 / 3 and 0.05 / 2, the last is not.
    assert holm([0.016, 0.019, 0.607]) == pytest.approx([0.048, 0.048, 0.607])


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1, 1]),
        ([0.02, np.nan, 0.01], [0.02, np.nan, 0.02]),
        ([np.nan], [np.nan]),
        ([0.2], [0.2]),
    ],
)
def test_holm_by_hand(given, corrected):
    assert holm(given) == pytest.approx(corrected, nan_ok=True)


@pytest.mark.parametrize(
    ("ranks", "difference", "groups"),
    [
        ([1.964, 2.0, 2.893, 3.143], 1.25, [(0, 3)]),
        ([1.964, 2.0, 2.893, 3.143], 1.12, [(0, 2), (2, 3)]),
        ([1, 2, 3], 1, []),
        ([1, 2, 3], 1.5, [(0, 1), (1, 2)]),
        ([1, 1, 3], 0.5, [(0, 1)]),
    ],
)
def test_groups_are_the_longest_runs_below_the_critical_difference(ranks, difference, groups):
    assert indistinguishable(ranks, difference) == groups
