"""Unknown names on anomalib's command line, reported in one sentence with the nearest known name."""

from __future__ import annotations

import difflib
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from dualclip_lightning.registry import DATAMODULES, FORMER_NAMES, MODELS, current_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BASE_CLASSES = {"--model": ("anomalib.models", "AnomalibModule"), "--data": ("anomalib.data", "AnomalibDataModule")}
_OURS = {"--model": MODELS, "--data": DATAMODULES}
_OF_JSONARGPARSE = {"help", "class_path", "init_args", "dict_kwargs"}


def unknown_classes(arguments: Sequence[str]) -> Iterator[str]:
    """Report unknown short class names on the command line, with the nearest known ones."""
    for option, name in _options(arguments):
        # All other names are class paths, configuration files or, for predict, folders.
        if name.isidentifier() and not Path(name).exists() and name not in (known := _known_classes(option)):
            near = nearest(name, known) or sorted(known)
            yield f"Expected {option} to name a known class, but got {name!r}. Did you mean {' or '.join(near)}?"


def unknown_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Report unknown arguments of our models and datamodules in one line each, where jsonargparse prints a dozen."""
    for option, path in dict(_options(arguments)).items():  # the last of each counts
        module, _, name = path.rpartition(".")
        home = _OURS[option].get(name)
        if home is None or not (module or ".").startswith(("dualclip_lightning", ".")):
            continue
        known = signature(getattr(import_module(home), name)).parameters
        for argument in arguments:
            key = argument.partition("=")[0].removeprefix(f"{option}.").partition(".")[0]
            if argument.startswith(f"{option}.") and key not in {*known, *_OF_JSONARGPARSE}:
                near = nearest(key, known)
                hint = f"Did you mean {option}.{near[0]}?" if near else f"Its arguments are {', '.join(known)}."
                yield f"{name} has no argument '{key}'. {hint}"


def former_models(arguments: Sequence[str]) -> Iterator[str]:
    """Report the current names of models that are given by a former name."""
    for option, name in _options(arguments):
        if option == "--model" and name in FORMER_NAMES:
            yield f"The model {name} is called {FORMER_NAMES[name]}, because anomalib has a model of nearly that name."


def with_current_models(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with former names of models replaced by the current ones."""
    renamed = list(arguments)
    for position, argument in enumerate(renamed):
        option, equals, name = argument.partition("=")
        if equals and option == "--model":
            renamed[position] = f"--model={current_name(name)}"
        elif position and renamed[position - 1] == "--model":
            renamed[position] = current_name(argument)
    return renamed


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """Return up to three choices that resemble a name, regardless of case, best match first."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    return [by_lower_case[found] for found in difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)]


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for position, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in _BASE_CLASSES:
            following = arguments[position + 1 : position + 2]
            yield from ((option, text) for text in ([value] if equals else following))


def _known_classes(option: str) -> set[str]:
    module, base = _BASE_CLASSES[option]
    waiting, names = [getattr(import_module(module), base)], set()
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            waiting.append(subclass)
            names.add(subclass.__name__)
    return names
