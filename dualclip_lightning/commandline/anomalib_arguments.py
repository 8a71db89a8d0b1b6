"""Unknown names on anomalib's command line or in its configuration files, reported with the nearest known name."""

from __future__ import annotations

import difflib
from importlib import import_module
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dualclip_lightning.commandline.host import configurations
from dualclip_lightning.registry import DATAMODULES, FORMER_NAMES, MODELS, current_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BASE_CLASSES = {"--model": ("anomalib.models", "AnomalibModule"), "--data": ("anomalib.data", "AnomalibDataModule")}
_OURS = {"--model": MODELS, "--data": DATAMODULES}
_OF_JSONARGPARSE = {"help", "class_path", "init_args", "dict_kwargs"}


class Given(NamedTuple):
    """A class named on the command line or in a configuration file, with the arguments given for it."""

    option: str
    """`--model` or `--data`."""
    path: str
    """Short name or dotted path of the class."""
    arguments: list[str]
    """Names of the arguments."""
    place: str = ""
    """Where it was found, as part of a sentence; empty for the command line."""
    prefix: str = ""
    """Prefix of its arguments on the command line."""


def refusals(arguments: Sequence[str]) -> Iterator[str]:
    """Report names of our classes and arguments that anomalib's own command would not find."""
    yield from former_models(arguments)
    yield from former_models_in_files(arguments)
    yield from unknown_arguments(arguments)
    yield from unknown_classes(arguments, like_ours=True)


def unknown_classes(arguments: Sequence[str], like_ours: bool = False) -> Iterator[str]:
    """Report unknown short class names with the nearest known ones; `like_ours` skips those nearest to anomalib's."""
    for given in chain(_on_the_line(arguments), _in_files(arguments)):
        option, name = given.option, given.path
        # All other names are class paths, configuration files or, for predict, folders.
        if name.isidentifier() and not Path(name).exists() and name not in (known := _known_classes(option)):
            near = nearest(name, known)
            if not like_ours or (near and near[0] in _OURS[option]):
                hint = " or ".join(near or sorted(known))
                yield f"Expected {option} to name a known class, but got {name!r}{given.place}. Did you mean {hint}?"


def unknown_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Report unknown arguments of our models and datamodules in one line each, where jsonargparse prints a dozen."""
    for given in chain(_on_the_line(arguments), _in_files(arguments)):
        module, _, name = given.path.rpartition(".")
        home = _OURS[given.option].get(current_name(name))
        if home is None or not (module or ".").startswith(("dualclip_lightning", ".")):
            continue
        known = signature(getattr(import_module(home), name)).parameters
        for key in given.arguments:
            if key not in known:
                near = nearest(key, known)
                hint = f"Did you mean {given.prefix}{near[0]}?" if near else f"Its arguments are {', '.join(known)}."
                yield f"{name} has no argument '{key}'{given.place}. {hint}"


def former_models(arguments: Sequence[str]) -> Iterator[str]:
    """Report the current names of models that are given by a former name."""
    for option, name in _options(arguments):
        if option == "--model" and name in FORMER_NAMES:
            yield f"The model {name} is called {FORMER_NAMES[name]}, because anomalib has a model of nearly that name."


def former_models_in_files(arguments: Sequence[str]) -> Iterator[str]:
    """Report the current names of models that a configuration file gives by a former name without a module."""
    for given in _in_files(arguments):
        for sentence in former_models([given.option, given.path]):
            yield f"{sentence} Change the name{given.place}."


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


def _on_the_line(arguments: Sequence[str]) -> Iterator[Given]:
    """Yield the classes on the command line; if an option is repeated, its last value counts."""
    for option, path in dict(_options(arguments)).items():
        prefix = f"{option}."
        keys = [argument.partition("=")[0].removeprefix(prefix).partition(".")[0] for argument in arguments
                if argument.startswith(prefix)]  # fmt: skip
        yield Given(option, path, [key for key in keys if key not in _OF_JSONARGPARSE], prefix=prefix)


def _in_files(arguments: Sequence[str]) -> Iterator[Given]:
    """Yield the classes in configuration files; jsonargparse reports files that cannot be read."""
    import yaml  # noqa: PLC0415  # the help of every command imports this module

    for file in configurations(arguments):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        for option in _BASE_CLASSES:
            chosen = content.get(option.strip("-")) if isinstance(content, dict) else None
            path, keys = _of_configuration(chosen)
            if path:
                yield Given(option, path, keys, place=f" in '{file}'")


def _of_configuration(chosen: Any) -> tuple[str, list[str]]:
    """Return the class in a section of a configuration and the names of its arguments; empty if there is none."""
    if not isinstance(chosen, dict):
        return (chosen, []) if isinstance(chosen, str) else ("", [])
    path, arguments = chosen.get("class_path"), chosen.get("init_args")
    return (path if isinstance(path, str) else "", [str(key) for key in arguments or {}])


def _known_classes(option: str) -> set[str]:
    module, base = _BASE_CLASSES[option]
    waiting, names = [getattr(import_module(module), base)], set()
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            waiting.append(subclass)
            names.add(subclass.__name__)
    return names
