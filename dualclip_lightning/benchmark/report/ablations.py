"""Search for the methods of a run that differ in only one number: the points of an ablation's curve."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from dualclip_lightning.benchmark.status import finished

IGNORED = {"seed"}
"""Parameters that may differ between the cells of one method."""
FEWEST = 3
"""Minimum number of points of a curve."""


class Ablation(NamedTuple):
    """Methods of one model that differ in one numeric parameter."""

    dataset: str
    model: str
    parameter: str
    points: Mapping[str, float]
    """Value of the parameter by method, ascending."""


def find_ablations(results: pd.DataFrame) -> Iterator[Ablation]:
    """Yield every family of at least three methods of one model whose parameters agree in all but one number."""
    done = finished(results).drop_duplicates(["dataset", "method"])
    for (dataset, model), rows in done.groupby(["dataset", "model"], sort=False):
        settings = {row.method: flat(json.loads(row.parameters)) for row in rows.itertuples()}
        for parameter in sorted({name for setting in settings.values() for name in setting}):
            for values in _families(settings, parameter):
                yield Ablation(str(dataset), str(model), parameter, values)


def flat(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested parameters under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{prefix}{name}.")
        elif prefix + name not in IGNORED:
            leaves[prefix + name] = value
    return leaves


def _families(settings: Mapping[str, Mapping[str, Any]], parameter: str) -> Iterator[dict[str, float]]:
    families: dict[str, dict[str, float]] = {}
    for method, setting in settings.items():
        value = setting.get(parameter)
        if isinstance(value, int | float) and not isinstance(value, bool):
            others = json.dumps({name: other for name, other in setting.items() if name != parameter}, sort_keys=True)
            families.setdefault(others, {})[method] = float(value)
    for family in families.values():
        if len(set(family.values())) >= FEWEST:
            yield dict(sorted(family.items(), key=lambda item: item[1]))
