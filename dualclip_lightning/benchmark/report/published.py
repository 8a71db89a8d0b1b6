"""Published figures as listed in `published.yaml`, and the methods of a run to which they belong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from omegaconf import OmegaConf


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
    """Description of the methods of a run to which the result belongs."""
    spread: Mapping[str, float]
    """Standard deviations over seeds by metric, in percentage points."""
    protocol: tuple[str, ...]
    categories: int | None
    """Number of categories of the data set."""
    backbone: str | None = None
    over: Mapping[str, Any] | None = None
    """The method over which the gain is measured, described as in `match`."""
    unclear: tuple[str, ...] = ()
    """Metrics whose computation the document does not describe."""


@cache
def _document() -> dict[str, Any]:
    text = files("dualclip_lightning.benchmark.report").joinpath("published.yaml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(text)))


def load_published() -> list[Published]:
    """Return every published result of `published.yaml`."""
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
    """Return the name of a run's data set in `published.yaml`, ignoring case and spaces; None if it is not listed."""
    wanted = dataset.replace(" ", "").lower()
    for name, about in _document()["datasets"].items():
        if wanted in {other.replace(" ", "").lower() for other in about["names"]}:
            return str(name)
    return None


def matches(method: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a method of a run (a row of its results) is the one described."""
    parameters = parameters_of(method)
    return all(method[name] == value for name, value in wanted.items() if name != "parameters") and all(
        _is_on(parameters.get(name)) is value if isinstance(value, bool) else parameters.get(name) == value
        for name, value in wanted.get("parameters", {}).items()
    )


def without_activation(method: Mapping[str, Any]) -> str:
    """Return the backbone as named in papers: open_clip's `-quickgelu` is the activation that the weights require."""
    return str(method["backbone"]).removesuffix("-quickgelu")


def _is_on(value: Any) -> bool:
    """Return whether a switch is on; settings with zero steps count as off."""
    return value.get("steps") != 0 if isinstance(value, Mapping) else bool(value)


def find_published(method: Mapping[str, Any]) -> list[Published]:
    """Return the published results of a method on its data set: those with its backbone if there are any.

    Documents that give different figures for one method are separate entries.
    """
    dataset = canonical(method["dataset"])
    found = [entry for entry in load_published() if entry.dataset == dataset and matches(method, entry.match)]
    return [entry for entry in found if entry.backbone in {None, without_activation(method)}] or found


def parameters_of(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method from its row of the results."""
    return json.loads(method["parameters"]) if isinstance(method["parameters"], str) else {}
