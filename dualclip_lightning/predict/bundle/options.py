"""Options of a command beside `--bundle`, of which those that contradict the bundle are refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.predict.bundle.file import Bundle, read_bundle
from dualclip_lightning.predict.bundle.plain import CHANGEABLE
from dualclip_lightning.predict.former import SETTINGS
from dualclip_lightning.registry import current_name

FROM_BUNDLE = "bundle"
"""Value of `threshold` for the one in the bundle."""
DEFAULTS = {"pretrained": None, "checkpoint": None, "min_area": 0, "max_megapixels": MAX_MEGAPIXELS}
"""Options that a run with a bundle records, with their defaults."""
DECISIONS = ("threshold", "pixel_threshold", "false_alarm_rate")
"""Options that choose a threshold."""


def take_bundle(
    parser: argparse.ArgumentParser, options: argparse.Namespace, arguments: Sequence[str],
    read_settings: Callable[[Sequence[str]], Mapping[str, Any]],
) -> None:  # fmt: skip
    """Set the options that a bundle determines; exit with a one-line message if it is unusable or contradicted.

    Args:
        parser: parser of the command.
        options: its options, with the file of the bundle.
        arguments: the arguments that gave them.
        read_settings: function that parses the values of `--set`.
    """
    try:
        bundle = read_bundle(options.bundle)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    given = given_options(parser, arguments)
    try:
        given["arguments"] = read_settings(given.pop("arguments", ()))
    except ValueError as error:
        parser.error(str(error))
    for message in contradictions(given, bundle, _spelling(parser)):
        parser.error(message)
    options.class_name, options.method = bundle.settings["class_name"], bundle.settings["method"]
    options.arguments, options.bundle_digest = [], bundle.digest
    if isinstance(bundle.threshold, Mapping):
        options.threshold = FROM_BUNDLE
    elif options.threshold is None:
        options.threshold = bundle.threshold or "none"
    # those of a former run are defaults now, and not among the arguments
    former = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name) != DEFAULTS[name]}
    options.changes = former | {name: given[name] for name in CHANGEABLE if name in given}


def given_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options that are among the arguments, without defaults."""
    unset = object()
    # argparse leaves a name that the namespace has; values of a repeatable option are appended to those there.
    actions = parser._actions  # noqa: SLF001
    blank = {action.dest: None if isinstance(action.default, list) else unset for action in actions}
    found = vars(parser.parse_args(arguments, argparse.Namespace(**blank)))
    return {name: value for name, value in found.items() if value is not unset and value is not None}


def contradictions(given: Mapping[str, Any], bundle: Bundle, spelling: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for every option that contradicts a bundle.

    Args:
        given: options by name; `arguments` is a mapping from names to values.
        bundle: bundle beside which they were given.
        spelling: spelling of each option on the command line.
    """
    if "former" in given and "bundle" in given:
        yield "--from and --bundle exclude each other"
    if "good" in given:
        yield "--good measures another threshold; make another bundle with 'dualclip calibrate'"
    if isinstance(bundle.threshold, Mapping):
        held = f"a threshold of {bundle.threshold['score']:.4f}"
        yield from (_contradiction(spelling[name], held) for name in DECISIONS if name in given)
    fixed = SETTINGS - {*CHANGEABLE, "bundle", "arguments"}
    named = {spelling[name]: (name, value) for name, value in given.items() if name in fixed}
    named |= {f"--set {name}": (name, value) for name, value in given.get("arguments", {}).items()}
    for option, (name, value) in named.items():
        held = _held(name, bundle)
        if _comparable(name, value) != held:
            yield _contradiction(option, _described(name, held))


def _contradiction(option: str, held: str) -> str:
    return f"{option} contradicts the bundle, which has {held}; leave it out, or make another bundle"


def _described(name: str, held: Any) -> str:
    if held is None:
        return "none"
    return held if name in {"reference", "references"} else repr(held)


def _held(name: str, bundle: Bundle) -> Any:
    """Return the value that an option would need to agree with a bundle; None if no value would."""
    settings, arguments = bundle.settings, bundle.arguments
    mode = settings["references"]
    special: dict[str, Any] = {
        "reference": f"{len(bundle.references)} references" if mode == "folder" else None,
        "references": "references of its own" if mode == "folder" else mode,
        "num_references": settings["num_references"] if mode != "stream" else None,
        "bank_size": settings["num_references"] if mode == "stream" else None,
        "image_size": settings["preprocessing"]["size"],
        "tta": settings.get("tta") is not None,
        "geometry": settings["geometry"]["mode"],
    }
    if name in special:
        return special[name]
    places = (arguments, settings, settings["geometry"], settings.get("arguments", {}))
    return next((place[name] for place in places if place.get(name) is not None), None)


def _comparable(name: str, value: Any) -> Any:
    """Return the value of an option in the form of a bundle."""
    if name == "image_size":
        return value * 2 if len(value) == 1 else value
    if name == "method":
        return current_name(value)
    return value


def _spelling(parser: argparse.ArgumentParser) -> dict[str, str]:
    actions = parser._actions  # noqa: SLF001
    return {action.dest: action.option_strings[-1] for action in actions if action.option_strings}
