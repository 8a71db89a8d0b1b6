"""The options of `dualclip predict PATH`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import yaml

from dualclip_lightning.commandline.parser import Parser, run_checked, with_new_names
from dualclip_lightning.images.finding.listing import Listing, check_there, find_images
from dualclip_lightning.predict.contradictions import contradicting_runner, contradicting_settings, contradictions
from dualclip_lightning.predict.former import check_threshold, former_options
from dualclip_lightning.predict.limits import HEATMAP_FORMATS, METHOD, OF_METHOD
from dualclip_lightning.predict.names import check_method
from dualclip_lightning.predict.option_groups import add_options
from dualclip_lightning.registry import current_name
from dualclip_lightning.utilities.ray_cluster import import_ray

EPILOG = """exit status: 0 all judged, 1 some files could not be used (see failures.csv), 2 wrong use, 3 stopped: a
result could not be written, memory ran out or a process died, 130 interrupted. The same command continues where one
stopped.

With --model, --data or --config, `dualclip predict` is anomalib's command:
see `dualclip predict --model NAME --help`."""
DEFAULTS = {
    "threshold": "auto",
    "references": "pairs",
    "bank_size": 4,
    "overlap": 0.25,
    "scale": ["run"],
    "heatmap_format": HEATMAP_FORMATS[0],
}
"""Defaults of options that have a meaning only with certain others, so that it matters whether the user set them."""
RENAMED = {"--reference": "--reference-dir", "--references": "--compare-with"}
"""Old names, which still work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; wrong options are reported before PyTorch is imported."""
    options = parse(arguments)
    refused = (FileNotFoundError, ValueError, ModuleNotFoundError)
    return run_checked(options, partial(_check, options), _command, refused)


def _check(options: argparse.Namespace) -> tuple[Listing]:
    listing = find_images(options.paths, options.exclude, sys.stdin.buffer)
    check_there(listing.paths, options.paths)
    check_given(options)
    if options.runner == "ray":
        import_ray()
    return (listing,)


def check_given(options: argparse.Namespace) -> None:
    """Check the good and reference images and the threshold that are given.

    Raises:
        FileNotFoundError: If there are no such images.
        ValueError: If they or the threshold cannot be used.
    """
    for given in filter(None, (options.good, options.reference)):
        check_there(find_images([given]).paths, [given], every=True)
    check_threshold(options)


def _command() -> Callable[..., int]:
    from dualclip_lightning.predict.command import run  # noqa: PLC0415 - takes seconds

    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options from the command line; if they are invalid, exit with a one-line message and status 2."""
    parser = Parser(
        "dualclip predict",
        "Score images of your own, without labels, masks or training, and draw where they are anomalous.",
        EPILOG,
    )
    add_options(parser)
    options = parse_detector(parser, arguments)
    complete(parser, options)
    for message in contradicting_runner(options):
        parser.error(message)
    return options


def parse_detector(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with those of a former run or a bundle; `complete` checks them afterwards."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    renamed = with_new_names(arguments, RENAMED)
    options = _parse_with_former(parser, renamed)
    options.command = shlex.join([*parser.prog.split(), *arguments])
    if options.bundle is not None:
        from dualclip_lightning.predict.bundle.options import take_bundle  # noqa: PLC0415 - imports numpy

        take_bundle(parser, options, renamed, read_settings)
    return options


def complete(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Check the options and set the defaults that depend on others; exit with a one-line message if they are wrong."""
    try:
        options.method = current_name(options.method)
        check_method(options.method)
        options.arguments = read_settings(options.arguments)
    except ValueError as error:
        parser.error(str(error))
    for message in contradictions(options):
        parser.error(message)
    if options.bundle is None:
        for message in contradicting_settings(options):
            parser.error(message)
    of_detector = OF_METHOD if options.method == METHOD and options.bundle is None else {}
    for name, value in (DEFAULTS | of_detector).items():
        if getattr(options, name) is None and name not in options.arguments:
            setattr(options, name, value)


def _parse_with_former(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, with those of a former run in place of the defaults if `--from` names one."""
    options = parser.parse_args(arguments)
    if options.former is None:
        return options
    try:
        taken = former_options(options.former)
    except ValueError as error:
        parser.error(str(error))
    threshold = taken.pop("threshold", None)
    defaults = DEFAULTS | (OF_METHOD if taken.get("method", METHOD) == METHOD else {})
    parser.set_defaults(**{name: value for name, value in taken.items() if value != defaults.get(name)})
    options = parser.parse_args(arguments)
    if options.threshold is None and options.good is None and options.false_alarm_rate is None:
        options.threshold = threshold
    return options


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of the method by name, from NAME=VALUE; later ones take precedence.

    Raises:
        ValueError: If one is not of that form; the message names it.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            found[name.strip().replace("-", "_")] = _value(value)
        except yaml.YAMLError:
            value = ""
        if not (name and value):
            msg = f"argument --set: expected NAME=VALUE, such as views=false, but got {each!r}"
            raise ValueError(msg)
    return found


def _value(text: str) -> Any:
    """Parse a value as JSON, or else as YAML, which does not read 1e-4 as a number."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)
