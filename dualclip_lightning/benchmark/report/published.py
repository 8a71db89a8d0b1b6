"""Published figures beside a run's own, with the difference and what makes the two hard to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.resources import files
from inspect import signature
from itertools import groupby
from typing import Any, cast

import pandas as pd
from omegaconf import OmegaConf

from dualclip_lightning.benchmark.names import metrics_of, title
from dualclip_lightning.benchmark.report.render import Table, TableCell
from dualclip_lightning.benchmark.report.summary import DIGITS, DatasetSummary, summarise
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.registry import MODELS

UNCLEAR = "‡"
"""Marks a published figure whose document does not say how it is computed."""
SPEAK_FOR_THEMSELVES = {"backbone", "pretrained", "class_name", "seed", "visualizer", "evaluator"}
"""Arguments that have columns of their own or touch no score."""


@dataclass(frozen=True)
class Published:
    """One published result on one data set."""

    method: str
    source: str
    """The document in which the figures were read."""
    dataset: str
    figures: Mapping[str, float]
    """Figures in % by metric; where `over` is set, percentage points gained."""
    match: Mapping[str, Any]
    """Which methods of a run it belongs to."""
    spread: Mapping[str, float]
    """Standard deviations over seeds by metric, in percentage points."""
    protocol: tuple[str, ...]
    categories: int | None
    """How many the data set has."""
    backbone: str | None = None
    over: Mapping[str, Any] | None = None
    """The method that the gain is over, described as in `match`."""
    unclear: tuple[str, ...] = ()
    """Metrics of which the document does not say how they are computed."""


@cache
def _document() -> dict[str, Any]:
    text = files("dualclip_lightning.benchmark.report").joinpath("published.yaml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(text)))


def load_published() -> list[Published]:
    """Every published result of `published.yaml`."""
    document = _document()
    return [
        _published(entry, dataset, document)
        for entry in (*document["results"], *document["gains"])
        for dataset in entry["figures"]
    ]


def _published(entry: Mapping[str, Any], dataset: str, document: Mapping[str, Any]) -> Published:
    about, source = document["datasets"][dataset], document["sources"][entry["source"]]
    return Published(
        method=entry["method"],
        source=source["document"],
        dataset=dataset,
        figures=entry["figures"][dataset],
        match=entry["match"],
        spread=entry.get("spread", {}).get(dataset, {}),
        protocol=(*about.get("protocol", ()), *entry.get("protocol", ())),
        categories=about.get("categories"),
        backbone=entry.get("backbone"),
        over=entry.get("over"),
        unclear=tuple(source.get("unclear", ())),
    )


def canonical(dataset: str) -> str | None:
    """What `published.yaml` calls a data set of a run, whatever its case and spaces; None for one it does not have."""
    wanted = dataset.replace(" ", "").lower()
    for name, about in _document()["datasets"].items():
        if wanted in {other.replace(" ", "").lower() for other in about["names"]}:
            return str(name)
    return None


def matches(method: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a method of a run (a row of its results) is the one described."""
    parameters = _parameters(method)
    return all(method[name] == value for name, value in wanted.items() if name != "parameters") and all(
        _is_on(parameters.get(name)) is value if isinstance(value, bool) else parameters.get(name) == value
        for name, value in wanted.get("parameters", {}).items()
    )


def _without_activation(method: Mapping[str, Any]) -> str:
    """Its backbone as papers call it: open_clip's `-quickgelu` is the activation that the weights ask for."""
    return str(method["backbone"]).removesuffix("-quickgelu")


def _is_on(value: Any) -> bool:
    """Whether a switch is on; settings of no step are off."""
    return value.get("steps") != 0 if isinstance(value, Mapping) else bool(value)


def find_published(method: Mapping[str, Any]) -> list[Published]:
    """The published results of a method of a run on its data set: those with its backbone if there are any.

    Documents that give different figures of one method are entries of their own.
    """
    dataset = canonical(method["dataset"])
    found = [entry for entry in load_published() if entry.dataset == dataset and matches(method, entry.match)]
    return [entry for entry in found if entry.backbone in {None, _without_activation(method)}] or found


def comparisons(results: pd.DataFrame) -> Iterator[tuple[str, Table, pd.DataFrame]]:
    """For every data set with published figures: its name, the table, and the same with one row for each figure."""
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
    """Figures here and published in %, with spread and difference: one row for each published metric."""
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
    """What keeps the two figures from being the same measurement."""
    name = method["method"]
    own = finished(cells[cells["method"] == name])
    categories = own["category"].nunique()
    if entry.backbone not in {None, _without_activation(method)}:
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
    """The metrics of which some cell has a figure."""
    return {name for name in metrics_of(cells) if cells[name].notna().any()}


def changed_parameters(method: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of one of our methods that are not its defaults and may move its scores."""
    if method["model"] not in MODELS:
        return {}
    arguments = signature(getattr(import_module(MODELS[method["model"]]), method["model"])).parameters
    return {
        name: value
        for name, value in _parameters(method).items()
        if name in arguments and name not in SPEAK_FOR_THEMSELVES and value != _stored(arguments[name].default)
    }


def _stored(value: Any) -> Any:
    """A default as it comes back from the JSON of a result, where tuples are lists and keys are texts."""
    return json.loads(json.dumps(value, default=str))


def _parameters(method: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(method["parameters"]) if isinstance(method["parameters"], str) else {}


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
    """What a row is called that is of this run."""
    method, entry, _ = compared
    return f"{method['method']}, gain over {entry.over['model']}" if entry.over else str(method["method"])


def _row(
    name: str, what: str, values: pd.Series, spread: pd.Series | None, unclear: Sequence[str] = ()
) -> list[TableCell]:
    """A row of the table; without a spread it is one of differences."""
    sign = "+" if spread is None else ""
    shown = {metric: "n/a" if pd.isna(value) else f"{value:{sign}.{DIGITS}f}" for metric, value in values.items()}
    for metric, deviation in ({} if spread is None else spread.dropna()).items():
        shown[metric] += f" ± {deviation:.{DIGITS}f}"
    for metric in set(unclear) & set(values.dropna().index):
        shown[metric] += UNCLEAR
    return [TableCell(name), TableCell(what), *map(TableCell, shown.values())]
