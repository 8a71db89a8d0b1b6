"""Ranking of methods over blocks: `rank_methods` and what it returns."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import pandas as pd

from dualclip_lightning.benchmark.names import metrics_of, title
from dualclip_lightning.benchmark.report.differences import signed_rank
from dualclip_lightning.benchmark.report.ranks.blocks import DECIMALS, PLACE, UNITS, Blocks, Unit, find_blocks, join
from dualclip_lightning.benchmark.report.ranks.resampling import (
    RESAMPLED,
    difference_intervals,
    join_images,
    resampled_means,
)
from dualclip_lightning.benchmark.report.ranks.significance import (
    FEWEST_FOR_FRIEDMAN,
    RankTest,
    critical_difference,
    friedman,
    holm,
    mean_ranks,
)
from dualclip_lightning.benchmark.results import BenchmarkRun

FEWEST_METHODS, FEWEST_BLOCKS = 2, 5
"""Minimum numbers of methods and of complete blocks; over fewer blocks no test could find anything."""


class MethodRanks(NamedTuple):
    """Methods ranked by one metric."""

    blocks: Blocks
    ranks: pd.Series
    """Mean rank over blocks by method, ascending; 1 is the best."""
    test: RankTest
    critical_difference: float
    """Nemenyi's, at the 5 % level."""


def rank_methods(
    *runs: BenchmarkRun, metric: str = RESAMPLED, unit: Unit = "category", bootstrap: int = 0
) -> tuple[MethodRanks, pd.DataFrame]:
    """Rank all methods of some runs by one metric, and compare every pair of them.

    Args:
        runs: one or more runs.
        metric: a column of the results.
        unit: what counts as one block. Seeds are averaged first, and categories of a data set if that is the block.
        bootstrap: number of resamplings of the images for the interval of each difference in image AUROC; 0 for none.

    Returns:
        The ranks, and the pairs as `compare_pairs` returns them, with `low` and `high` if there are intervals.

    Raises:
        ValueError: there is no such metric, too few methods or complete blocks have it, or the images to be resampled
            are not the same for all methods.
    """
    cells, notes = join(runs)
    found = rank_cells(cells, metric, unit)
    pairs = compare_pairs(found)
    if bootstrap and metric == RESAMPLED:
        drawn = resampled_means(join_images(runs, cells), found.blocks, bootstrap)
        pairs = pairs.assign(**difference_intervals(drawn, pairs))
    return found._replace(blocks=found.blocks._replace(notes=(*notes, *found.blocks.notes))), pairs


def rank_cells(cells: pd.DataFrame, metric: str, unit: Unit = "category") -> MethodRanks:
    """Rank the methods of some results by one metric.

    Raises:
        ValueError: there is no such metric, or too few methods or complete blocks have it.
    """
    known = [name for name in metrics_of(cells) if name in cells]
    if metric not in known:
        msg = f"Expected a metric of the runs ({', '.join(known)}), but got {metric!r}."
        raise ValueError(msg)
    blocks = find_blocks(cells, metric, unit)
    problem = _too_few(blocks)
    if problem:
        raise ValueError(problem)
    return _rank(blocks)


def rank_all(cells: pd.DataFrame) -> list[MethodRanks]:
    """Rank the methods of a run over categories by every metric that at least three methods have on enough of them."""
    if cells["method"].nunique() < FEWEST_FOR_FRIEDMAN or len(cells[PLACE].drop_duplicates()) < FEWEST_BLOCKS:
        return []
    every = (find_blocks(cells, metric, "category") for metric in metrics_of(cells) if metric in cells)
    enough = (blocks for blocks in every if blocks.figures.shape[1] >= FEWEST_FOR_FRIEDMAN)
    return [_rank(blocks) for blocks in enough if not _too_few(blocks)]


def compare_pairs(found: MethodRanks) -> pd.DataFrame:
    """Compare every pair of methods over blocks, the better ranked one first.

    Returns:
        a, b, mean (of A - B, in points), p_value (Wilcoxon's signed-rank test), holm (corrected for the number of
        pairs), better, equal, worse (numbers of blocks); one row per pair, by p-value.
    """
    figures, rows = found.blocks.figures, []
    for a, b in combinations(found.ranks.index, 2):
        change = (figures[a] - figures[b]).round(DECIMALS).to_numpy()
        signs = {"better": change > 0, "equal": change == 0, "worse": change < 0}
        counts = {name: int(each.sum()) for name, each in signs.items()}
        rows.append({"a": a, "b": b, "mean": change.mean(), "p_value": signed_rank(change), **counts})
    frame = pd.DataFrame(rows)
    frame.insert(4, "holm", holm(frame["p_value"].to_numpy()))
    return frame.sort_values("p_value", kind="stable", ignore_index=True)


def _too_few(blocks: Blocks) -> str | None:
    """Return why methods cannot be ranked over these blocks; None if they can."""
    count, methods = blocks.figures.shape
    if methods < FEWEST_METHODS:
        found = f"there {'is 1' if methods else 'are none'}"
        msg = f"Expected at least {FEWEST_METHODS} methods with {title(blocks.metric)} to rank, but {found}."
    elif count < FEWEST_BLOCKS:
        remedy = "Add data sets." if blocks.unit == "category" else "Add data sets, or rank over categories."
        unit = UNITS[blocks.unit]
        msg = f"Expected at least {FEWEST_BLOCKS} {unit} that every method finished, but got {count}. {remedy}"
    else:
        return None
    return " ".join([msg, *blocks.notes])


def _rank(blocks: Blocks) -> MethodRanks:
    count, methods = blocks.figures.shape
    ranks = pd.Series(mean_ranks(blocks.figures), blocks.figures.columns, name="rank").sort_values(kind="stable")
    return MethodRanks(blocks, ranks, friedman(blocks.figures), critical_difference(count, methods))
