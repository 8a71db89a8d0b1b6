"""Labelled data on which auxiliary methods are trained: their settings, and the refusal of data that are tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anomalib.data import Datumaro, Folder, Tabular

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.method_checks import argument_problems
from dualclip_lightning.benchmark.plan.methods import method_arguments, method_class
from dualclip_lightning.benchmark.plan.schema import Config, DatasetSettings, DataSettings, MethodSettings, TrainingData

OF_THE_USER = (Folder, Tabular, Datumaro)
"""Datamodules without a data set of their own: only their root tells which images they have."""
HOOK = "fit_auxiliary"
"""Method of a class that trains it: `fit_auxiliary(engine, datamodules)`, with one datamodule per category."""


def training_data(settings: MethodSettings, config: Config, dataset: str) -> TrainingData | None:
    """Return the data on which a method is trained before it is tested on a data set; None for no such training.

    `data` in the result is the name of a datamodule: settings of a data set of the configuration are filled in.
    """
    chosen = settings.per_dataset.get(dataset, DatasetSettings()).train_on or settings.train_on
    if chosen is None:
        return None
    known = config.datasets.get(chosen.data, DataSettings())
    categories = known.categories if chosen.categories is None else chosen.categories
    return TrainingData(
        known.data or chosen.data, {**known.arguments, **chosen.arguments}, categories, chosen.method_arguments
    )


def training_problems(config: Config) -> Iterator[str]:
    """Yield errors of `train_on`; methods, data sets and the layout of the configuration are valid."""
    for label, settings in config.methods.items():
        for dataset, tested in config.datasets.items():
            data = training_data(settings, config, dataset)
            if data is not None:
                special = settings.per_dataset.get(dataset, DatasetSettings()).train_on is not None
                where = f"methods.{label}{f'.per_dataset.{dataset}' if special else ''}.train_on"
                yield from _problems(where, settings, data, config)
                if data.data in catalogue.data_names() and _same_images(data, tested, dataset):
                    yield (
                        f"methods.{label}: it would be trained on {data.data} and tested on {dataset}, which are the "
                        f"same images. Set `methods.{label}.per_dataset.{dataset}.train_on` to other data."
                    )


def _problems(where: str, settings: MethodSettings, data: TrainingData, config: Config) -> Iterator[str]:
    if settings.checkpoint is not None:
        yield f"{where}: the method has a `checkpoint` already. Take one of the two out."
    if not hasattr(method_class(settings.model), HOOK):
        yield f"{where}: {settings.model} cannot be trained on other data, because its class has no `{HOOK}`."
    if problem := catalogue.unknown("data set", data.data, [*config.datasets, *catalogue.data_names()]):
        yield f"{where}: {problem}"
        return
    yield from argument_problems(where, data.data, data.arguments, catalogue.data_arguments(data.data))
    known = dict.fromkeys(method_arguments(settings.model))
    yield from argument_problems(f"{where}.method_arguments", settings.model, data.method_arguments, known)
    yield from _category_problems(where, data)


def _category_problems(where: str, data: TrainingData) -> Iterator[str]:
    asked = data.categories
    if asked != catalogue.WHOLE and (not isinstance(asked, list) or not asked):
        yield f'{where}: Expected categories to be "all" or a list of some, but got {asked!r}.'
        return
    try:
        known = catalogue.categories(data.data, data.arguments)
    except (OSError, ValueError) as error:
        yield from [] if isinstance(asked, list) else [f"{where}: {error}"]
        return
    if asked != catalogue.WHOLE:
        found = (catalogue.unknown(f"category of {data.data}", str(each), known) for each in asked)
        yield from (f"{where}: {problem}" for problem in found if problem)


def _same_images(data: TrainingData, tested: DataSettings, dataset: str) -> bool:
    """Return whether two data sets have one root, or are one published data set, whatever its root."""
    first, second = data.data, tested.data or dataset
    if second not in catalogue.data_names():
        return False  # it is refused elsewhere
    roots = [_root(first, data.arguments), _root(second, tested.arguments)]
    if None not in roots and roots[0] == roots[1]:
        return True
    classes = catalogue.data_class(first), catalogue.data_class(second)
    return not any(issubclass(each, OF_THE_USER) for each in classes) and _name(classes[0]) == _name(classes[1])


def _root(data: str, arguments: Mapping[str, Any]) -> Path | None:
    root = (catalogue.data_arguments(data) | dict(arguments)).get("root")
    return Path(root).expanduser().resolve() if isinstance(root, str | Path) else None


def _name(owner: type) -> str:
    """Return the name of a data set, which a class may state, as `MVTec` states that of MVTecAD."""
    stated = getattr(owner, "name", None)
    return stated if isinstance(stated, str) else owner.__name__
