"""Comparison of a run's figures with published ones: the difference, and what makes the two hard to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from importlib import import_module
from inspect import signature
from itertools import groupby
from typing import Any

import pandas as pd

from dualclip_lightning.benchmark.names import metrics_of, title
from dualclip_lightning.benchmark.report.published import (
    Published,
    find_published,
    matches,
    parameters_of,
    without_activation,
)
from dualclip_lightning.benchmark.report.render import Table, TableCell
from dualclip_lightning.benchmark.report.summary import DIGITS, DatasetSummary, summarise
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.registry import MODELS
from dualclip_lightning.utilities.record import as_read

UNCLEAR = "‡"
"""Mark of a published figure whose document does not say how it is computed."""


SPEAK_FOR_THEMSELVES = {"backbone", "pretrained", "class_name", "seed", "visualizer", "evaluator"}
"""Arguments that have their own columns or do not affect any score."""


def comparisons(results: pd.DataFrame) -> Iterator[tuple[str, Table, pd.DataFrame]]:
    """Yield the name, the table and a frame with one row per figure for every data set with published figures."""
    for dataset, cells in results.groupby("dataset", sort=False):
        summary = summarise(cells, str(dataset))
        done = finished(cells)
        methods = [row for _, row in done.drop_duplicates("method").iterrows()]
        pairs = ((row, entry) for row in methods for entry in find_published(row))
        compared = ((row, entry, compare(row, entry, summary, methods)) for row, entry in pairs)
        shown = [(row, entry, figures) for row, entry, figures in compared if figures["here"].notna().any()]
        if shown:
            notes = [note for row, entry, _ in shown for note in protocol_notes(row, entry, cells)]
            yield str(dataset), _table(str(dataset), shown, notes), pd.concat([f for *_, f in shown], ignore_index=True)


def compare(method: Mapping[str, Any], entry: Published, summary: DatasetSummary, methods: list[Any]) -> pd.DataFrame:
    """Return the run's and the published figures in %, with spread and difference: one row per published metric."""
    metrics = list(entry.figures)
    here = summary.mean.loc[method["method"]].reindex(metrics)
    spread = summary.spread.loc[method["method"]].reindex(metrics)
    if entry.over is not None:
        base = next((row["method"] for row in methods if matches(row, entry.over)), None)
        here = here - summary.mean.loc[base].reindex(metrics) if base else here * float("nan")
        spread = spread * float("nan")
    published = pd.Series(dict(entry.figures))
    frame = pd.DataFrame({"here": here, "here_std": spread, "published": published,
                          "published_std": pd.Series(dict(entry.spread), dtype=float).reindex(metrics),
                          "difference": here - published})  # fmt: skip
    frame = frame.rename_axis("metric").reset_index()
    identity = {"dataset": method["dataset"], "method": method["method"], "published_method": _name(entry),
                "source": entry.source}  # fmt: skip
    return pd.concat([pd.DataFrame([identity] * len(frame)), frame], axis=1)


def protocol_notes(method: Mapping[str, Any], entry: Published, cells: pd.DataFrame) -> Iterator[str]:
    """Yield the reasons why the two figures are not the same measurement."""
    name = method["method"]
    own = finished(cells[cells["method"] == name])
    categories = own["category"].nunique()
    if entry.backbone not in {None, without_activation(method)}:
        yield f"{name}: backbone {method['backbone']} here, {entry.backbone} published."
    if entry.categories not in {None, categories}:
        yield f"{name}: mean over {categories} of the data set's {entry.categories} categories here."
    missing = int((cells["method"] == name).sum()) - len(own)
    if missing:
        yield f"{name}: {missing} cells have no result; the mean here rests on the others."
    yield f"{name} here: weights {method['weights']}, seeds {own['seed'].nunique()}, images {method['transform']}."
    yield f"{name} here: {method['masks']} masks."
    changed = changed_parameters(method)
    if changed:
        yield f"{name}: not the defaults here: {', '.join(f'{key}={value}' for key, value in changed.items())}."
    for note in entry.protocol:
        yield f"{entry.method} in {entry.source}: {note}"
    for metric in (name for name in entry.unclear if name in entry.figures):
        yield f"{UNCLEAR} {entry.source} does not say how {title(metric)} is computed: no like-for-like difference."
    for metric in (name for name in entry.figures if name not in summary_metrics(cells)):
        yield f"{entry.method} in {entry.source}: {title(metric)} is not in this run; set it under `evaluation`."


def summary_metrics(cells: pd.DataFrame) -> set[str]:
    """Return the metrics for which at least one cell has a figure."""
    return {name for name in metrics_of(cells) if cells[name].notna().any()}


def changed_parameters(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of one of our methods that differ from the defaults and may affect scores."""
    if method["model"] not in MODELS:
        return {}
    arguments = signature(getattr(import_module(MODELS[method["model"]]), method["model"])).parameters
    return {
        name: value
        for name, value in parameters_of(method).items()
        if name in arguments and name not in SPEAK_FOR_THEMSELVES and value != as_read(arguments[name].default)
    }


def _name(entry: Published) -> str:
    return f"{entry.method} over {entry.over['model']}" if entry.over else entry.method


def _table(dataset: str, shown: list[tuple[Any, Published, pd.DataFrame]], notes: list[str]) -> Table:
    published = list(dict.fromkeys(name for *_, figures in shown for name in figures["metric"]))
    metrics = [name for name in metrics_of(published) if name in published]
    rows: list[list[TableCell]] = []
    for name, group in groupby(shown, key=_label):
        compared = [(entry, figures.set_index("metric").reindex(metrics)) for _, entry, figures in group]
        here = reduce(pd.DataFrame.combine_first, (table[["here", "here_std"]] for _, table in compared))
        rows.append(_row(name, "here", here["here"].reindex(metrics), here["here_std"].reindex(metrics)))
        for entry, table in compared:
            rows.append(_row(_name(entry), entry.source, table["published"], table["published_std"], entry.unclear))
            rows.append(_row(name, f"difference to {entry.source}", table["difference"], None, entry.unclear))
    columns = ["method", "figures", *(str(title(name)) for name in metrics)]
    return Table(f"{dataset} beside published figures (in %)", columns, rows, list(dict.fromkeys(notes)), 2)


def _label(compared: tuple[Any, Published, Any]) -> str:
    """Return the name of a row of this run's own figures."""
    method, entry, _ = compared
    return f"{method['method']}, gain over {entry.over['model']}" if entry.over else str(method["method"])


def _row(
    name: str, what: str, values: pd.Series, spread: pd.Series | None, unclear: Sequence[str] = ()
) -> list[TableCell]:
    """Return a row of the table; without a spread it is a row of differences."""
    sign = "+" if spread is None else ""
    shown = {metric: "n/a" if pd.isna(value) else f"{value:{sign}.{DIGITS}f}" for metric, value in values.items()}
    for metric, deviation in ({} if spread is None else spread.dropna()).items():
        shown[metric] += f" ± {deviation:.{DIGITS}f}"
    for metric in set(unclear) & set(values.dropna().index):
        shown[metric] += UNCLEAR
    return [TableCell(name), TableCell(what), *map(TableCell, shown.values())]
