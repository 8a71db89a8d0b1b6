"""Errors of the methods of a benchmark's configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.methods import (
    SET_BY_THE_RUN,
    MethodError,
    method_arguments,
    method_class,
)
from dualclip_lightning.benchmark.plan.schema import (
    Config,
    DatasetSettings,
    DataSettings,
    MethodSettings,
    arguments_of,
    categories_of,
)
from dualclip_lightning.models.base import parse_kind
from dualclip_lightning.registry import MODELS

TRAINER_SET_BY_THE_RUN = {
    "accelerator", "strategy", "devices", "num_nodes", "precision", "logger", "callbacks", "fast_dev_run",
    "limit_val_batches", "limit_test_batches", "limit_predict_batches", "num_sanity_val_steps", "default_root_dir",
    "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode", "plugins", "barebones",
}  # fmt: skip
"""Arguments of Lightning's Trainer that a configuration cannot set for a method."""


def method_problems(config: Config) -> Iterator[str]:
    """Yield errors of names, arguments and settings of methods."""
    if not (found := list(_problems(config))):
        found = list(_common_problems(config))
    yield from found


def _problems(config: Config) -> Iterator[str]:
    for label, settings in config.methods.items():
        try:
            method_class(settings.model)
        except MethodError as error:
            yield f"methods.{label}: {error}"
            continue
        yield from _training_problems(f"methods.{label}", settings)
        known = method_arguments(settings.model)
        yield from argument_problems(f"methods.{label}", settings.model, arguments_of(settings, config), known)
        for dataset, special in settings.per_dataset.items():
            where = f"methods.{label}.per_dataset.{dataset}"
            if problem := catalogue.unknown("data set of this configuration", dataset, config.datasets):
                yield f"methods.{label}.per_dataset: {problem}"
            else:
                yield from _special_problems(where, settings.model, special, config.datasets[dataset], dataset)


def _common_problems(config: Config) -> Iterator[str]:
    """Yield errors of common arguments that no method has; the methods of this package refuse them themselves."""
    models = [settings.model for settings in config.methods.values()]
    if any(model in MODELS for model in models):
        return
    known = {name for model in [*models, *MODELS] for name in method_arguments(model)}
    found = (catalogue.unknown("common argument", name, known) for name in config.arguments)
    yield from (f"arguments: {problem}" for problem in found if problem)


def _training_problems(where: str, settings: MethodSettings) -> Iterator[str]:
    known = [name for name in inspect.signature(Trainer).parameters if name not in TRAINER_SET_BY_THE_RUN]
    for name in settings.trainer:
        if name in TRAINER_SET_BY_THE_RUN:
            yield f"{where}.trainer: the run itself sets {name!r}. Take it out."
        elif problem := catalogue.unknown("argument of Lightning's Trainer", str(name), known):
            yield f"{where}.trainer: {problem}"
    for name in ("k_shot", "train_batch_size"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            yield f"Expected `{where}.{name}` from 1, but got {value}."
    if settings.kind is not None:
        try:
            parse_kind(settings.kind)
        except ValueError as error:
            yield f"{where}.kind: {error}"


def _special_problems(
    where: str, model: str, special: DatasetSettings, data: DataSettings, dataset: str
) -> Iterator[str]:
    """Yield errors of settings for one data set; arguments without a default are checked for the method."""
    known = dict.fromkeys(method_arguments(model))
    yield from argument_problems(where, model, special.arguments, known)
    asked = tested_categories(data, dataset) if (data.data or dataset) in catalogue.data_names() else []
    for category, arguments in special.categories.items():
        problem = asked and catalogue.unknown(f"tested category of {dataset}", category, asked)
        if problem:
            yield f"{where}.categories: {problem}"
        else:
            yield from argument_problems(f"{where}.categories.{category}", model, arguments, known)


def tested_categories(data: DataSettings, dataset: str) -> list[str]:
    """Return the tested categories of a data set; none if they are invalid, which `_category_problems` reports."""
    try:
        return categories_of(data, dataset)
    except (TypeError, ValueError, OSError):
        return []


def argument_problems(where: str, owner: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield errors of the names of arguments of a constructor, and missing ones."""
    for name in given:
        if name == "seed" and name not in known:
            yield f"{where}: seeds stand under `seeds`, not under `arguments`."
        elif name in SET_BY_THE_RUN | catalogue.DATA_SET_BY_THE_RUN and name not in known:
            yield f"{where}: the run itself sets {name!r} of {owner}. Take it out of `arguments`."
        elif problem := catalogue.unknown(f"argument of {owner}", name, list(known)):
            yield f"{where}: {problem}"
    missing = [name for name in catalogue.required(known) if given.get(name) is None]
    if missing:
        yield f"{where}: {owner} needs {' and '.join(missing)}. Set them under `{where}.arguments`."
