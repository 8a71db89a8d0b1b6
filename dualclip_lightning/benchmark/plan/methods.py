"""Methods by name: registered ones, those of anomalib and of entry points, and any class by its dotted path."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from anomalib.models.components.base import AnomalibModule
from anomalib.utils.path import convert_snake_to_pascal_case

from dualclip_lightning.benchmark.plan.catalogue import unknown
from dualclip_lightning.models.base.arguments import constructor_signature
from dualclip_lightning.registry import MODELS, current_name

ENTRY_POINTS = "dualclip_lightning.methods"
"""Group of entry points under which other packages offer methods."""
SET_BY_THE_RUN = {"seed", "visualizer", "evaluator", "post_processor", "pre_processor"}
"""Constructor arguments of methods that a configuration cannot set: seeds have their own key, and every method has the
same evaluator, without thresholds from labels and without images."""
OF_ANOMALIB = "anomalib.models.image."


class MethodError(ValueError):
    """There is no such method; the message is a sentence."""


def method_names() -> list[str]:
    """Return the names of all methods: registered here, in anomalib and by entry points."""
    return list(dict.fromkeys([*MODELS, *_anomalib_names(), *_offered()]))


def canonical_name(name: str) -> str:
    """Return the name under which a method is listed, for any spelling that anomalib accepts; other names unchanged."""
    name = current_name(name)
    if name in MODELS or name in _anomalib_names() or "." in name or name in _offered():
        return name
    spelling = convert_snake_to_pascal_case(name).lower()
    listed = {known.lower(): known for known in [*_anomalib_names(), *MODELS]}
    return listed.get(spelling, name)


def method_class(name: str) -> Any:
    """Return the class of a method.

    Args:
        name: name in `method_names` in any spelling of anomalib, or dotted path of a subclass of AnomalibModule, which
            is imported from the current folder or an installed package.

    Raises:
        MethodError: there is none; the message has the closest names, or the reason.
    """
    name = canonical_name(name)
    if name in MODELS:
        return getattr(import_module(MODELS[name]), name)
    if name in _anomalib_names():
        return getattr(import_module("anomalib.models"), name)
    if "." in name:
        return _checked(name, _imported(name))
    if name in _offered():
        return _checked(name, _load(name, _offered()[name].load))
    msg = unknown("method", name, method_names())
    if "Did you mean" not in str(msg):
        msg = f"{msg} A class of your own is named by its dotted path, such as mymethod.MyMethod."
    raise MethodError(msg)


def method_arguments(name: str) -> dict[str, Any]:
    """Return constructor arguments that a configuration may set, with their defaults.

    A class without an argument `image_size` accepts one if its preprocessing has a size (`sizes_preprocessing`).
    """
    owner = method_class(name)
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = constructor_signature(owner).parameters
    named = {each: found.default for each, found in parameters.items() if found.kind not in variable}
    arguments = {each: default for each, default in named.items() if each not in SET_BY_THE_RUN}
    return {"image_size": None} | arguments if sizes_preprocessing(owner) else arguments


def sizes_preprocessing(owner: Any) -> bool:
    """Return whether `image_size` of a configuration sets the size of a class's preprocessing, as in anomalib."""
    parameters = constructor_signature(owner).parameters
    if "image_size" in parameters or "pre_processor" not in parameters:
        return False
    hook = inspect.getattr_static(owner, "configure_pre_processor")
    return isinstance(hook, staticmethod | classmethod) and (
        "image_size" in inspect.signature(owner.configure_pre_processor).parameters
    )


def accepts(owner: Any, argument: str) -> bool:
    """Return whether the constructor of a class has an argument."""
    return argument in constructor_signature(owner).parameters


def common_arguments(name: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments common to all methods that a method gets.

    Methods registered here get all, so that a wrong name is refused; other classes those that they accept. Classes of
    anomalib and their subclasses get none, because `backbone` has another meaning there.
    """
    if canonical_name(name) in MODELS:
        return dict(common)
    owner = method_class(name)
    if any(base.__module__.startswith(OF_ANOMALIB) for base in owner.__mro__):
        return {}
    return {each: value for each, value in common.items() if accepts(owner, each)}


@cache
def _anomalib_names() -> tuple[str, ...]:
    """Return the names of anomalib's image models."""
    models = import_module("anomalib.models")
    return tuple(each for each in models.__all__ if getattr(models, each).__module__.startswith(OF_ANOMALIB))


@cache
def _offered() -> dict[str, Any]:
    """Return the entry points by name; names that this package or anomalib already has keep their meaning.

    They are read once, because that looks through all installed packages.
    """
    taken = {*MODELS, *_anomalib_names()}
    return {each.name: each for each in entry_points(group=ENTRY_POINTS) if each.name not in taken}


def _imported(path: str) -> Any:
    """Import a class by its dotted path."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file here replaces an installed package
    home, _, name = path.rpartition(".")
    module = _load(path, lambda: import_module(home))
    if not hasattr(module, name):
        found = [each for each, value in vars(module).items() if _is_method(value)]
        near = get_close_matches(name, found, n=2, cutoff=0.5) or found
        hint = f"Did you mean {' or '.join(f'{home}.{each}' for each in near)}?" if near else "It has no methods."
        msg = f"The module {home!r} has no class {name!r}. {hint}"
        raise MethodError(msg)
    return getattr(module, name)


def _load(name: str, load: Any) -> Any:
    try:
        return load()
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if error.name != top:
            msg = f"{name!r} cannot be imported: {error}."
        else:
            local = [path.stem for path in Path.cwd().glob("*.py")]
            near = get_close_matches(top, [*local, *(each.lower() for each in method_names())], n=1, cutoff=0.6)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"There is no module {top!r} in '{Path.cwd()}' or among the installed packages.{hint}"
        raise MethodError(msg) from error
    except Exception as error:
        msg = f"{name!r} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
        raise MethodError(msg) from error


def _checked(name: str, found: Any) -> Any:
    if not _is_method(found):
        msg = f"Expected {name!r} to be a subclass of anomalib's AnomalibModule, but it is {found!r}."
        raise MethodError(msg)
    return found


def _is_method(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, AnomalibModule) and value is not AnomalibModule
