"""Blocks of a comparison: one figure per method and block, where a block is a category or a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.report.summary import describe_methods, differing
from dualclip_lightning.benchmark.results import BenchmarkRun
from dualclip_lightning.benchmark.status import DONE, finished

Unit = Literal["category", "dataset"]
UNITS: dict[str, str] = {"category": "categories", "dataset": "data sets"}
"""Kinds of blocks, with their plurals."""
PLACE = ["dataset", "category"]
DECIMALS = 9
"""Decimals at which two figures count as equal."""
SAME = ("model", "backbone", "weights_sha256")
"""Columns that a method of several runs should have in common."""


class Blocks(NamedTuple):
    """Figures of one metric for methods that can be compared."""

    metric: str
    unit: Unit
    figures: pd.DataFrame
    """Figures in %, higher is better: one row per block and one column per method, without gaps."""
    notes: tuple[str, ...]
    """Parts that were left out, with the reasons."""


def join(runs: Sequence[BenchmarkRun]) -> tuple[pd.DataFrame, list[str]]:
    """Return the results of all runs as one frame, and notes about methods of the same name.

    A method of the same name in several runs is one method if no two of them tested it on one category. Otherwise
    its name is followed by the folder of the run.
    """
    frames = [run.frame.assign(run=number) for number, run in enumerate(runs)]
    cells = pd.concat(frames, ignore_index=True)
    tested = cells[["run", "method", *PLACE]].drop_duplicates()
    twice = set(tested.loc[tested.duplicated(["method", *PLACE]), "method"])
    endings = dict(enumerate(f" ({name})" for name in folder_names(runs)))
    named = cells["method"] + cells["run"].map(endings).where(cells["method"].isin(twice), "")
    notes = (
        [f"{'; '.join(sorted(twice))}: several runs tested one category, so each counts as a method."] if twice else []
    )
    cells = cells.assign(method=named)
    return cells, [*notes, *_unlike(cells)]


def folder_names(runs: Sequence[BenchmarkRun]) -> list[str]:
    """Return as many last parts of the runs' folders as it takes to tell them apart."""
    parts = [run.folder.resolve().parts for run in runs]
    depths = range(1, max(map(len, parts)) + 1)
    names = (["/".join(each[-depth:]) for each in parts] for depth in depths)
    return next((each for each in names if len(set(each)) == len(each)), [str(run.folder) for run in runs])


def _unlike(cells: pd.DataFrame) -> Iterator[str]:
    """Yield a note for each method that is not the same in all its runs."""
    done = finished(cells)
    for method, own in done.groupby("method", sort=False):
        for column in (name for name in SAME if name in own):
            values = own.groupby("run")[column].first().dropna().unique()
            if len(values) > 1:
                yield f"{method}: its runs differ in {column}."


def find_blocks(cells: pd.DataFrame, metric: str, unit: Unit) -> Blocks:
    """Return the figures of one metric by block and method: the mean over seeds, then over the block's categories.

    A category with a gap (a failed seed, no figure) makes its block incomplete for all methods; incomplete blocks
    are left out and named. So are methods without any figure, and methods whose pixel figures use another rule for
    masks than most.
    """
    others = _other_masks(cells, metric)
    notes = [f"{method}: other masks than most, so its {title(metric)} is not ranked." for method in others]
    cells = cells[~cells["method"].isin(others)]
    figures = cells.assign(figure=100 * cells[metric].where(cells["status"] == DONE))
    order = cells["method"].unique()
    has = figures.groupby("method")["figure"].count().reindex(order) > 0
    notes += [f"{method} has no {title(metric)} and is not ranked." for method in order[~has]]
    figures = figures[figures["method"].isin(order[has])]
    by_category = _whole_means(figures.groupby([*PLACE, "method"], sort=False)["figure"])
    table = by_category.unstack("method").reindex(columns=order[has])  # noqa: PD010 (a pivot table drops gaps)
    table = table.reindex(pd.MultiIndex.from_frame(figures[PLACE].drop_duplicates()))
    empty = table.isna().all(axis=1)
    notes += [f"{name} has no {title(metric)} of any method." for name in block_names(table[empty])]
    table = table[~empty]
    if unit == "dataset":
        table = _whole_means(table.groupby(level="dataset", sort=False))
    notes += [*_incomplete(table), *_other_images(figures)]
    return Blocks(metric, unit, table.dropna().round(DECIMALS), tuple(notes))


def _whole_means(groups: Any) -> Any:
    """Return the mean of each group, NaN for a group with gaps."""
    sizes = groups.size()
    return groups.mean().where(groups.count().eq(sizes, axis=0))


def block_names(table: pd.DataFrame) -> list[str]:
    """Return the names of the blocks: the data set, with the category if blocks are categories."""
    return [name if isinstance(name, str) else "/".join(map(str, name)) for name in table.index]


def _other_masks(cells: pd.DataFrame, metric: str) -> list[str]:
    if not metric.startswith("pixel"):
        return []
    found = (differing(describe_methods(own), [metric])[metric] for _, own in cells.groupby("dataset", sort=False))
    return list(dict.fromkeys(str(method) for other in found for method in other[other].index))


def _incomplete(table: pd.DataFrame) -> Iterator[str]:
    """Yield the blocks that some method lacks."""
    for name, (_, row) in zip(block_names(table), table.iterrows(), strict=True):
        lacking = row.index[row.isna()]
        if len(lacking):
            yield f"{name} is left out, because {', '.join(lacking)} did not finish all of it."


def _other_images(cells: pd.DataFrame) -> Iterator[str]:
    """Yield a note if methods were not tested on the same images of a category."""
    tested = finished(cells).dropna(subset=["images_sha256"])
    if tested.groupby(PLACE)["images_sha256"].nunique().le(1).all():
        return
    unlike = tested.groupby([*PLACE, "method"])["images_sha256"].agg(frozenset).groupby(PLACE, sort=False).nunique()
    names = block_names(unlike[unlike > 1].to_frame())
    if names:
        yield f"The methods were not all tested on the same images of {'; '.join(names)}."
