"""Tables of ranks, of their tests and of pairs of methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.report.differences import FEWEST_FOR_TEST
from dualclip_lightning.benchmark.report.ranks.blocks import UNITS, block_names
from dualclip_lightning.benchmark.report.ranks.methods import MethodRanks
from dualclip_lightning.benchmark.report.ranks.significance import LEVEL
from dualclip_lightning.benchmark.report.render import Table, TableCell
from dualclip_lightning.benchmark.report.summary import RANKED

ROUGH_BLOCKS, ROUGH_METHODS = 10, 5
"""Up to so many blocks or methods the chi-squared distribution is a rough approximation (Demšar, 2006, p. 11)."""


def rank_table(rankings: Sequence[MethodRanks]) -> Table:
    """Return the mean ranks: one row per method and one column per metric."""
    ranks = pd.concat({found.blocks.metric: found.ranks for found in rankings}, axis="columns")
    methods = list(dict.fromkeys(method for found in rankings for method in found.blocks.figures))
    places = ranks.round(2).rank(method="dense")
    rows = [
        [TableCell(method), *(_rank_cell(ranks.loc[method, name], places.loc[method, name]) for name in ranks)]
        for method in methods
    ]
    columns = ["method", *(str(title(name)) for name in ranks)]
    return Table(f"Mean ranks over {UNITS[rankings[0].blocks.unit]}", columns, rows, list(_notes(rankings)))


def significance_table(rankings: Sequence[MethodRanks]) -> Table:
    """Return Friedman's test and the critical difference: one row per metric."""
    rows = [
        [*map(TableCell, (str(title(found.blocks.metric)), str(len(found.blocks.figures)), str(len(found.ranks)),
                          _number(found.test.statistic), _number(found.test.p_value), _number(found.test.f_statistic),
                          _number(found.test.f_p_value), f"{found.critical_difference:.2f}"))]
        for found in rankings
    ]  # fmt: skip
    unit = UNITS[rankings[0].blocks.unit]
    columns = ["metric", unit, "methods", "chi-squared", "p", "F", "p of F", "critical difference"]
    return Table("Do the mean ranks differ?", columns, rows, list(_test_notes(rankings)))


def pair_table(found: MethodRanks, pairs: pd.DataFrame) -> Table:
    """Return the differences of all pairs of methods by one metric."""
    intervals = "low" in pairs
    rows = [
        [
            TableCell(row.a), TableCell(row.b), TableCell(f"{row.mean:+.2f}"),
            *([TableCell(f"{row.low:+.2f} to {row.high:+.2f}")] if intervals else []),
            TableCell(_number(row.p_value)), TableCell(_number(row.holm)),
            TableCell(f"{row.better}/{row.equal}/{row.worse}"),
        ]
        for row in pairs.itertuples()
    ]  # fmt: skip
    columns = ["A", "B", "A - B", *(["95 % interval"] if intervals else []), "p", "p (Holm)", "better/equal/worse"]
    name = f"{title(found.blocks.metric)}: pairs of methods, the better ranked first (in %)"
    return Table(name, columns, rows, list(_pair_notes(found, pairs)), 2)


def numbers(rankings: Sequence[MethodRanks]) -> pd.DataFrame:
    """Return the ranks and tests as numbers, one row per metric and method."""
    return pd.concat(
        [
            pd.DataFrame({
                "metric": found.blocks.metric, "unit": found.blocks.unit, "method": found.ranks.index,
                "mean_rank": found.ranks.to_numpy(), "mean": found.blocks.figures.mean()[found.ranks.index].to_numpy(),
                "blocks": len(found.blocks.figures), "methods": len(found.ranks), **found.test._asdict(),
                "critical_difference": found.critical_difference,
            })
            for found in rankings
        ],
        ignore_index=True,
    )  # fmt: skip


def _rank_cell(rank: float, place: float) -> TableCell:
    if pd.isna(rank):
        return TableCell("n/a")
    return TableCell(f"{rank:.2f}", int(place) if place <= RANKED else 0)


def _number(value: float) -> str:
    return "n/a" if pd.isna(value) else f"{value:.3g}"


def _notes(rankings: Sequence[MethodRanks]) -> Iterator[str]:
    yield "Rank 1 is the highest figure; methods of equal figures share their ranks. Seeds are averaged first."
    same = len({tuple(block_names(found.blocks.figures)) for found in rankings}) == 1
    for found in rankings[:1] if same else rankings:
        names = block_names(found.blocks.figures)
        metric = "" if same else f"{title(found.blocks.metric)}: "
        yield f"{metric}{len(names)} {UNITS[found.blocks.unit]}: {'; '.join(names)}."
    yield from dict.fromkeys(note for found in rankings for note in found.blocks.notes)


def _test_notes(rankings: Sequence[MethodRanks]) -> Iterator[str]:
    yield "Friedman's test (chi-squared, corrected for ties) and Iman and Davenport's F: are all mean ranks equal?"
    yield f"Mean ranks that are at least Nemenyi's critical difference apart differ at the {100 * LEVEL:g} % level."
    undecided = [str(title(found.blocks.metric)) for found in rankings if not found.test.f_p_value < LEVEL]
    if undecided:
        yield f"{', '.join(undecided)}: no difference is found, so the critical difference should not be used either."
    if any(len(f.blocks.figures) <= ROUGH_BLOCKS or len(f.ranks) <= ROUGH_METHODS for f in rankings):
        yield (
            f"Up to {ROUGH_BLOCKS} {UNITS[rankings[0].blocks.unit]} or {ROUGH_METHODS} methods, the chi-squared "
            "distribution is a rough approximation; F is closer."
        )
    if any(
        f.blocks.unit == "category" and f.blocks.figures.index.get_level_values(0).duplicated().any() for f in rankings
    ):
        yield "The tests assume independent categories. Those of one data set are alike, so p-values may be too small."


def _pair_notes(found: MethodRanks, pairs: pd.DataFrame) -> Iterator[str]:
    unit = UNITS[found.blocks.unit]
    yield f"A - B: mean over {unit} of the mean over seeds, in percentage points."
    if pairs["p_value"].notna().any():
        tested = f"{pairs['p_value'].notna().sum()} of {len(pairs)} pairs that can be tested"
        yield f"p: Wilcoxon's signed-rank test over {unit}; p (Holm) is corrected for the {tested}."
    if pairs["p_value"].isna().any():
        yield f"No test for fewer than {FEWEST_FOR_TEST} {unit} that differ: it could not fall below 0.05."
    if "low" in pairs:
        yield (
            "The interval resamples the images of every category, the same for both methods. It says how the "
            "difference would vary with other images, not with other data sets or seeds, and is not corrected."
        )
