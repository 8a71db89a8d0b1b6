"""Errors of a benchmark's configuration, one sentence each, with the closest valid name if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.auxiliary import training_problems
from dualclip_lightning.benchmark.plan.method_checks import argument_problems, method_problems, tested_categories
from dualclip_lightning.benchmark.plan.methods import method_names
from dualclip_lightning.benchmark.plan.schema import (
    Config,
    DatasetSettings,
    DataSettings,
    Evaluation,
    MethodSettings,
    TrainingData,
)
from dualclip_lightning.images.masks import RULES
from dualclip_lightning.metrics.functional import FPR_LIMIT
from dualclip_lightning.prompts.categories import check_class_name
from dualclip_lightning.utilities.extras import missing_extra

DEVICES = ("auto", "cpu", "cuda")
KEEP_MAPS = ("none", "first", "all")
THRESHOLDS = ("run",)
"""Label-free thresholds that need only the scores of a cell."""
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
"""Supported precisions. Lightning's 16-true is not, because anomalib passes images in single precision to the model."""


def problems(config: Config) -> Iterator[str]:
    """Yield errors of values, methods, arguments, data sets and categories."""
    yield from _value_problems(config)
    yield from _evaluation_problems(config)
    found = [*method_problems(config), *_data_problems(config)]
    yield from found or training_problems(config)


def layout_problems(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield errors about unknown keys and missing parts."""
    if "benchmark" in content and "methods" not in content:
        yield "This is a configuration of anomalib's own benchmark. Run it with `anomalib benchmark --config ...`."
        return
    yield from _unknown_keys("key", content, Config)
    for name, schema in (("methods", MethodSettings), ("datasets", DataSettings)):
        entries = content.get(name)
        if not isinstance(entries, dict) or not entries:
            yield f"Expected `{name}` to hold at least one label with its settings, but got {entries!r}."
            continue
        for label, entry in entries.items():
            if not isinstance(entry, dict | None):
                yield f"Expected settings under `{name}.{label}`, but got {entry!r}."
                continue
            yield from _unknown_keys(f"key of {name}.{label}", entry or {}, schema)
            if schema is MethodSettings:
                yield from _per_dataset_layout(label, entry or {})
                yield from _training_layout(f"methods.{label}.train_on", (entry or {}).get("train_on"))
            if schema is MethodSettings and "model" not in (entry or {}):
                yield f"Expected `{name}.{label}.model` to name a method: {', '.join(method_names())}."

    measured = content.get("evaluation")
    if measured is not None and not isinstance(measured, dict):
        yield f"Expected settings under `evaluation`, but got {measured!r}."
    else:
        yield from _unknown_keys("key of evaluation", measured or {}, Evaluation)


def _per_dataset_layout(label: str, entry: Mapping[str, Any]) -> Iterator[str]:
    special = entry.get("per_dataset")
    where = f"methods.{label}.per_dataset"
    if not isinstance(special, dict | None):
        yield f"Expected `{where}` to hold settings by data set, but got {special!r}."
        return
    for dataset, settings in (special or {}).items():
        if not isinstance(settings, dict):
            yield f"Expected settings under `{where}.{dataset}`, but got {settings!r}."
        else:
            yield from _unknown_keys(f"key of {where}.{dataset}", settings, DatasetSettings)
            yield from _training_layout(f"{where}.{dataset}.train_on", settings.get("train_on"))


def _training_layout(where: str, entry: Any) -> Iterator[str]:
    if entry is None:
        return
    if not isinstance(entry, dict) or "data" not in entry:
        yield f"Expected `{where}` to name a data set, such as {{data: Visa}}, but got {entry!r}."
    else:
        yield from _unknown_keys(f"key of {where}", entry, TrainingData)


def _unknown_keys(what: str, entry: Mapping[str, Any], schema: type) -> Iterator[str]:
    known = [each.name for each in fields(schema)]
    yield from filter(None, (catalogue.unknown(what, str(name), known) for name in entry))


def _value_problems(config: Config) -> Iterator[str]:
    if config.parquet:
        yield from filter(None, [missing_extra("parquet", "`parquet: true`", "pyarrow")])
    choices = {"device": DEVICES, "keep_maps": KEEP_MAPS, "precision": PRECISIONS}
    for name, known in choices.items():
        yield from filter(None, [catalogue.unknown(name, getattr(config, name), known)])
    if config.batch_size < 1 or config.num_workers < 0:
        yield f"Expected batch_size above 0 and num_workers from 0, but got {config.batch_size}, {config.num_workers}."
    for where, seeds in {
        "seeds": config.seeds,
        **{f"methods.{k}.seeds": m.seeds for k, m in config.methods.items()},
    }.items():
        if seeds is not None and (not seeds or len(set(seeds)) < len(seeds)):
            yield f"Expected `{where}` to list different seeds, but got {seeds}."


def _evaluation_problems(config: Config) -> Iterator[str]:
    rules = {"masks": config.masks, **{f"methods.{label}.masks": m.masks for label, m in config.methods.items()}}
    rules |= {
        f"methods.{label}.per_dataset.{dataset}.masks": special.masks
        for label, method in config.methods.items()
        for dataset, special in method.per_dataset.items()
    }
    for where, rule in rules.items():
        yield from filter(None, [rule is not None and catalogue.unknown(f"rule under {where}", rule, RULES)])
    measured = config.evaluation
    if measured.threshold is not None:
        yield from filter(None, [catalogue.unknown("evaluation.threshold", measured.threshold, THRESHOLDS)])
    if measured.bootstrap < 0:
        yield f"Expected evaluation.bootstrap from 0, but got {measured.bootstrap}."
    limits = measured.pro_limits
    if any(not 0 < limit <= 1 or limit == FPR_LIMIT for limit in limits):
        yield f"Expected evaluation.pro_limits in (0, 1] and not {FPR_LIMIT:g}, which every run has, but got {limits}."


def _data_problems(config: Config) -> Iterator[str]:
    for label, settings in config.datasets.items():
        name = settings.data or label
        problem = catalogue.unknown("data set", name, catalogue.data_names())
        if problem:
            yield f"datasets.{label}: {problem}"
            continue
        yield from argument_problems(f"datasets.{label}", name, settings.arguments, catalogue.data_arguments(name))
        yield from _category_problems(label, settings, name)
        yield from _class_name_problems(label, settings)


def _class_name_problems(label: str, settings: DataSettings) -> Iterator[str]:
    given, where = settings.class_name, f"datasets.{label}.class_name"
    names = given.values() if isinstance(given, dict) else [given] if given is not None else []
    yield from (f"{where}: {problem}" for problem in map(_class_name_refusal, names) if problem)
    if isinstance(given, dict) and (asked := tested_categories(settings, label)):
        found = (catalogue.unknown(f"tested category of {label}", str(category), asked) for category in given)
        yield from (f"{where}: {problem}" for problem in found if problem)


def _class_name_refusal(name: Any) -> str | None:
    try:
        check_class_name(name)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _category_problems(label: str, settings: DataSettings, name: str) -> Iterator[str]:
    asked = settings.categories
    try:
        known = catalogue.categories(name, settings.arguments)
    except OSError as error:  # categories in a list are checked when the data are there
        if not isinstance(asked, list):
            yield f"datasets.{label}: {error}"
        return
    if asked == catalogue.WHOLE:
        return
    if not isinstance(asked, list) or not asked:
        yield f'datasets.{label}: Expected categories to be "all" or a list of some, but got {asked!r}.'
    elif not catalogue.has_categories(name):
        yield f"datasets.{label}: {name} has no categories. Take `categories` out."
    else:
        found = (catalogue.unknown(f"category of {name}", str(category), known) for category in asked)
        yield from (f"datasets.{label}: {problem}" for problem in found if problem)
