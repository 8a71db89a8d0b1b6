"""The sections of the report, one per data set, with their figures and text alternatives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dualclip_lightning.benchmark.names import slug
from dualclip_lightning.benchmark.report import figures
from dualclip_lightning.benchmark.report.ablations import find_ablations
from dualclip_lightning.benchmark.report.comparisons import comparisons
from dualclip_lightning.benchmark.report.curves import Lines, category_lines, mean_lines
from dualclip_lightning.benchmark.report.gallery import examples
from dualclip_lightning.benchmark.report.render import Table
from dualclip_lightning.benchmark.report.summary import DatasetSummary, summaries
from dualclip_lightning.benchmark.report.tables import interval_table, mask_notes, summary_table
from dualclip_lightning.benchmark.results import BenchmarkRun
from dualclip_lightning.benchmark.status import finished

MAPS_SHOWN = 8
"""Maximum number of methods in a gallery; with more it would be illegible in print."""


class ReportFigure(NamedTuple):
    """A figure of the report."""

    address: str
    alt: str
    """Text alternative for readers who cannot see the figure."""
    caption: str


class Category(NamedTuple):
    """One category of a data set."""

    name: str
    table: Table
    intervals: Table | None
    curves: ReportFigure | None
    gallery: ReportFigure | None


class Section(NamedTuple):
    """One data set."""

    name: str
    anchor: str
    table: Table
    published: Table | None
    finished: bool
    """True if any cell finished."""
    ablations: list[ReportFigure]
    curves: ReportFigure | None
    categories: list[Category]


def sections(run: BenchmarkRun) -> Iterator[Section]:
    """Yield one section per data set."""
    published = {dataset: table for dataset, table, _ in comparisons(run.frame)}
    parts = list(summaries(run.frame))
    for overall in (part for part in parts if part.category is None):
        cells = run.frame[run.frame["dataset"] == overall.dataset]
        tables = {part.category: part for part in parts if part.dataset == overall.dataset and part.category}
        evidence = {str(name): _evidence(run, own) for name, own in cells.groupby("category", sort=False)}
        yield Section(
            overall.dataset,
            slug(overall.dataset),
            summary_table(overall),
            published.get(overall.dataset),
            not finished(cells).empty,
            list(_ablations(cells, overall)),
            _curves(
                mean_lines(lines for lines, _ in evidence.values()),
                f"{overall.dataset}, mean over categories",
                mask_notes(overall),
            ),
            [_category(overall, name, tables.get(name, overall), cells, *found) for name, found in evidence.items()],
        )


def _evidence(run: BenchmarkRun, cells: pd.DataFrame) -> tuple[Lines, ReportFigure | None]:
    """Return the curves and the gallery of one category, from each method's first finished seed."""
    first = finished(cells).sort_values("seed", kind="stable").drop_duplicates("method")
    first = first.set_index("key").loc[[key for key in cells["key"] if key in set(first["key"])]]
    images = run.images[run.images["key"].isin(first.index)].dropna(subset=["label", "score"])
    kept = {str(method): run.maps(key) for key, method in first["method"].items()}
    maps: dict[str, Mapping[str, NDArray[Any]]] = {method: each for method, each in kept.items() if each is not None}
    lines = category_lines(images, maps)
    return lines, _gallery(images, dict(list(maps.items())[:MAPS_SHOWN]), str(cells["category"].iloc[0]))


def _gallery(
    images: pd.DataFrame, maps: Mapping[str, Mapping[str, NDArray[Any]]], category: str
) -> ReportFigure | None:
    shown = examples(images[images["method"].isin(maps)], maps)
    if not shown:
        return None
    said = "; ".join(
        f"{example.what}, {np.mean(example.mask):.1%} of the image defective, highest value of the map "
        + ", ".join(f"{example.maps[method].max():.2f} ({method})" for method in maps)
        for example in shown
    )
    caption = (
        f"{category}: worst misses, worst false alarm and best hits by the mean rank of the methods shown, images "
        "squeezed to the shape of the maps. Each method has one scale for all its maps here, from their lowest to "
        "their highest value, which stand below: colours compare images, and not methods."
    )
    return ReportFigure(
        figures.plot_gallery(shown, list(maps)), f"Images, masks and maps of {category}. {said}.", caption
    )


def _curves(lines: Lines, where: str, notes: Iterable[str]) -> ReportFigure | None:
    if not lines:
        return None
    methods = ", ".join(dict.fromkeys(method for method, _ in lines))
    kinds = ", ".join(dict.fromkeys(panel.title for _, panel in lines))
    caption = f"{where}: curves of each method's first seed; PRO up to the false-positive rate where it ends."
    caption = " ".join([caption, *notes])
    return ReportFigure(
        figures.plot_curves(lines), f"Curves ({kinds}) of {methods}; the tables give their areas.", caption
    )


def _ablations(cells: pd.DataFrame, summary: DatasetSummary) -> Iterator[ReportFigure]:
    for ablation in find_ablations(cells):
        values = ", ".join(f"{value:g}" for value in ablation.points.values())
        caption = (
            f"{ablation.model}: mean over categories against {ablation.parameter}; the band is one standard deviation "
            "over seeds, a hollow point misses cells. Every panel has a range of its own."
        )
        alt = f"Metrics of {ablation.model} at {ablation.parameter} = {values}; the table gives the figures."
        yield ReportFigure(figures.plot_ablation(ablation, summary), alt, caption)


def _category(
    overall: DatasetSummary,
    name: str,
    part: DatasetSummary,
    cells: pd.DataFrame,
    lines: Lines,
    gallery: ReportFigure | None,
) -> Category:
    intervals = interval_table(cells[cells["category"] == name])
    return Category(
        name, summary_table(part), intervals, _curves(lines, f"{overall.dataset}, {name}", mask_notes(part)), gallery
    )
