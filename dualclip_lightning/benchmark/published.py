"""Published figures beside a run's own, with the difference and what makes the two hard to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from inspect import signature
from typing import Any, cast

import pandas as pd
from omegaconf import OmegaConf

from dualclip_lightning.benchmark.render import Cell, Table
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.benchmark.summary import DIGITS, METRICS, Summary, summarise
from dualclip_lightning.registry import MODELS

SPEAK_FOR_THEMSELVES = {"backbone", "pretrained", "class_name", "seed", "visualizer", "evaluator"}
"""Arguments that have columns of their own or touch no score."""


@dataclass(frozen=True)
class Published:
    """One published result on one data set."""

    method: str
    source: str
    dataset: str
    figures: Mapping[str, float]
    """By metric, in %; with `over` percentage points gained."""
    match: Mapping[str, Any]
    """Which methods of a run it belongs to."""
    spread: Mapping[str, float]
    """By metric, over seeds, in points."""
    protocol: tuple[str, ...]
    categories: int | None
    """How many the data set has."""
    backbone: str | None = None
    over: Mapping[str, Any] | None = None
    """The method that the gain is over, described as in `match`."""


@cache
def _document() -> dict[str, Any]:
    text = files("dualclip_lightning.benchmark").joinpath("published.yaml").read_text(encoding="utf-8")
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
    about = document["datasets"][dataset]
    return Published(
        method=entry["method"],
        source=document["sources"][entry["source"]],
        dataset=dataset,
        figures=entry["figures"][dataset],
        match=entry["match"],
        spread=entry.get("spread", {}).get(dataset, {}),
        protocol=(*about.get("protocol", ()), *entry.get("protocol", ())),
        categories=about.get("categories"),
        backbone=entry.get("backbone"),
        over=entry.get("over"),
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


def _is_on(value: Any) -> bool:
    """Whether a switch is on; settings of no step are off."""
    return value.get("steps") != 0 if isinstance(value, Mapping) else bool(value)


def find_published(method: Mapping[str, Any]) -> list[Published]:
    """The published results of a method of a run on its data set: those with its backbone if there are any."""
    dataset = canonical(method["dataset"])
    found = [entry for entry in load_published() if entry.dataset == dataset and matches(method, entry.match)]
    return [entry for entry in found if entry.backbone in {None, method["backbone"]}] or found


def comparisons(results: pd.DataFrame) -> Iterator[tuple[str, Table, pd.DataFrame]]:
    """For every data set with published figures: its name, the table, and the same as a row a figure."""
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


def compare(method: Mapping[str, Any], entry: Published, summary: Summary, methods: list[Any]) -> pd.DataFrame:
    """Figures here and published in %, with spread and difference: a row a metric that was published."""
    metrics = list(entry.figures)
    here = summary.mean.loc[method["method"], metrics]
    spread = summary.spread.loc[method["method"], metrics]
    if entry.over is not None:
        base = next((row["method"] for row in methods if matches(row, entry.over)), None)
        here = here - summary.mean.loc[base, metrics] if base else here * float("nan")
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
    if entry.backbone not in {None, method["backbone"]}:
        yield f"{name}: backbone {method['backbone']} here, {entry.backbone} published."
    if entry.categories not in {None, categories}:
        yield f"{name}: mean over {categories} of the data set's {entry.categories} categories here."
    missing = int((cells["method"] == name).sum()) - len(own)
    if missing:
        yield f"{name}: {missing} cells have no result; the mean here rests on the others."
    yield f"{name} here: weights {method['weights']}, seeds {own['seed'].nunique()}, images {method['transform']}."
    changed = changed_parameters(method)
    if changed:
        yield f"{name}: not the defaults here: {', '.join(f'{key}={value}' for key, value in changed.items())}."
    for note in entry.protocol:
        yield f"{entry.method} as published: {note}"


def changed_parameters(method: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of one of our methods that are not its defaults and may move its scores."""
    if method["model"] not in MODELS:
        return {}
    arguments = signature(getattr(import_module(MODELS[method["model"]]), method["model"])).parameters
    return {
        name: value
        for name, value in _parameters(method).items()
        if name in arguments and name not in SPEAK_FOR_THEMSELVES and value != arguments[name].default
    }


def _parameters(method: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(method["parameters"]) if isinstance(method["parameters"], str) else {}


def _name(entry: Published) -> str:
    return f"{entry.method} over {entry.over['model']}" if entry.over else entry.method


def _table(dataset: str, shown: list[tuple[Any, Published, pd.DataFrame]], notes: list[str]) -> Table:
    metrics = [name for name in METRICS if any(name in set(figures["metric"]) for *_, figures in shown)]
    rows: list[list[Cell]] = []
    for method, entry, figures in shown:
        table = figures.set_index("metric").reindex(metrics)
        gain = f", gain over {entry.over['model']}" if entry.over else ""
        rows += [
            _row(f"{method['method']}{gain}", "here", table["here"], table["here_std"]),
            _row(_name(entry), entry.source, table["published"], table["published_std"]),
            _row(f"{method['method']}{gain}", "difference", table["difference"], None),
        ]
    columns = ["method", "figures", *(METRICS[name] for name in metrics)]
    return Table(f"{dataset} beside published figures (in %)", columns, rows, list(dict.fromkeys(notes)), 2)


def _row(name: str, what: str, values: pd.Series, spread: pd.Series | None) -> list[Cell]:
    sign = "+" if spread is None else ""
    shown = ["n/a" if pd.isna(value) else f"{value:{sign}.{DIGITS}f}" for value in values]
    if spread is not None:
        shown = [text if pd.isna(s) else f"{text} ± {s:.{DIGITS}f}" for text, s in zip(shown, spread, strict=True)]
    return [Cell(name), Cell(what), *map(Cell, shown)]
