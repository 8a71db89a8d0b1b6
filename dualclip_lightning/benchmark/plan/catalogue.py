"""Catalogue of data sets, their arguments and categories, and suggestions for wrong names."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from anomalib.data.utils import ValSplitMode

from dualclip_lightning.registry import DATAMODULES

DATA_SET_BY_THE_RUN = {"category", "eval_batch_size", "num_workers"}
"""Arguments of datamodules that have their own keys."""
WHOLE = "all"
"""Category of a data set without categories; in a configuration, all categories of a data set."""


@cache
def data_names() -> list[str]:
    """Return the names of all supported image datamodules of this package and anomalib."""
    data = import_module("anomalib.data")
    classes = {name: value for name, value in vars(data).items() if inspect.isclass(value)}
    found = {name for name, value in classes.items() if value.__module__.startswith("anomalib.data.datamodules.image.")}
    return sorted({*DATAMODULES, *found})


def data_class(name: str) -> Any:
    """Return the datamodule class of a data set by its name."""
    return getattr(import_module(DATAMODULES.get(name, "anomalib.data")), name)


def data_arguments(name: str) -> dict[str, Any]:
    """Return constructor arguments of a datamodule that a configuration may set, with their defaults."""
    return dict(_arguments(data_class(name)))


@cache  # plans of benchmarks ask for it several times per cell
def _arguments(owner: type) -> dict[str, Any]:
    parameters = inspect.signature(owner).parameters
    return {each: found.default for each, found in parameters.items() if each not in DATA_SET_BY_THE_RUN}


def split(name: str) -> dict[str, Any]:
    """Return arguments of a datamodule that test all images of its test set, the same ones for every seed.

    By default, anomalib reserves half of some test sets for validation, which is not used here, and draws splits from
    the global generator.
    """
    arguments = data_arguments(name)
    chosen: dict[str, Any] = {"seed": 0} if arguments.get("seed", 0) is None else {}
    if arguments.get("val_split_mode") == ValSplitMode.FROM_TEST:
        chosen["val_split_mode"] = ValSplitMode.SAME_AS_TEST.value
    return chosen


def required(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments that have no default."""
    return [name for name, default in arguments.items() if default is inspect.Parameter.empty]


def has_categories(name: str) -> bool:
    """Return whether a datamodule has categories."""
    return "category" in inspect.signature(data_class(name)).parameters


def categories(name: str, arguments: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the categories of a data set; "all" if it has none.

    Args:
        name: name of the datamodule.
        arguments: arguments of its constructor, where the categories are those found below a root.

    Raises:
        FileNotFoundError: there are no categories below the root.
        ValueError: the categories are not known.
    """
    finder = getattr(data_class(name), "find_categories", None)
    root = (arguments or {}).get("root")
    if not has_categories(name) or (finder and root is None):
        return (WHOLE,)
    if finder:
        return tuple(finder(root))
    modules = (base.__module__ for base in data_class(name).__mro__)
    for module in modules:
        # anomalib defines the list in the module of the data set and not of its datamodule.
        found = getattr(import_module(module.replace(".datamodules.", ".datasets.")), "CATEGORIES", None)
        if found:
            return tuple(found)
    msg = f"The categories of data set {name} are not known. List them in the configuration."
    raise ValueError(msg)


def unknown(what: str, name: str, known: Collection[str]) -> str | None:
    """Return a sentence about an unknown name with the closest known ones; None for a known name."""
    if name in known:
        return None
    lower = {other.lower(): other for other in known}
    near = [lower[found] for found in get_close_matches(name.lower(), lower, n=2, cutoff=0.5)]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Expected one of {', '.join(sorted(known))}."
    return f"Unknown {what} {name!r}. {hint}"
