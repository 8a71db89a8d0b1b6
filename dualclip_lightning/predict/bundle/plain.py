"""The arguments and settings of a detector as plain data, and comparison of the stored with the present ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from dualclip_lightning.predict.bundle.file import Bundle
from dualclip_lightning.predict.input.geometry import Geometry
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.record import as_read

ELSEWHERE = frozenset({"references", "reference_dir", "threshold", "device"})
"""Arguments of a detector that a bundle holds in another form or leaves to the machine."""
PLACES = ("pretrained", "checkpoint")
"""Arguments that may be paths of files."""
CHANGEABLE = ("backbone", "batch_size", "checkpoint", "max_megapixels", "min_area", "pretrained")
"""Arguments that may be changed on loading, besides the device; weights must remain the same."""
OF_PLACE = frozenset({"weights", "backbone"})
"""Settings that may differ with the place of the weights; equal weights have an equal digest."""


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a detector as JSON reads them back, without those that are stored elsewhere.

    Raises:
        ValueError: If one cannot be written as JSON; the message names it.
    """
    return {name: _plain(name, value) for name, value in arguments.items() if name not in ELSEWHERE}


def _plain(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=_convert, allow_nan=False))
    except (TypeError, ValueError) as error:
        msg = f"A bundle holds only numbers, texts, lists and mappings, but {name} is {value!r}."
        raise ValueError(msg) from error


def _convert(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def check_changes(changes: Mapping[str, Any]) -> None:
    """Check that only changeable arguments are to be changed.

    Raises:
        ValueError: If another one is; the message names it.
    """
    for name in changes:
        if name not in CHANGEABLE:
            msg = f"A bundle determines {name}. Leave it out, or make another bundle; only {', '.join(CHANGEABLE)} and "
            raise ValueError(msg + "device may be set.")


def detector_arguments(bundle: Bundle) -> dict[str, Any]:
    """Return the arguments of the detector, with paths as they lead to files from the present directory."""
    arguments = dict(bundle.arguments)
    arguments["geometry"] = Geometry(**arguments["geometry"])
    return arguments | {name: bundle.located(arguments[name]) for name in PLACES if _is_path(name, bundle)}


def _is_path(name: str, bundle: Bundle) -> bool:
    """Return whether an argument is a path; a tag is none, even if there was a folder of that name."""
    value = bundle.arguments.get(name)
    if not value:
        return False
    folder_of_weights = name == "pretrained" and bundle.settings["weights"] != value  # it has a prefix there
    return folder_of_weights or (Path(bundle.directory) / value).is_file()


def held_threshold(bundle: Bundle, settings: Mapping[str, Any]) -> Threshold | str | None:
    """Return the threshold of a bundle, for settings that are the same except for the place of the weights."""
    if bundle.threshold is None or isinstance(bundle.threshold, str):
        return bundle.threshold
    threshold = Threshold.from_facts(bundle.threshold)
    return replace(threshold, settings=dict(settings)) if threshold.settings else threshold


def check_weights(bundle: Bundle, settings: Mapping[str, Any]) -> None:
    """Check that the weights, and trained layers if there are any, are those of the bundle.

    Raises:
        ValueError: If they are not.
    """
    for name, what, argument in (
        ("weights_sha256", "weights", "pretrained"), ("layers_sha256", "trained layers", "checkpoint"),
    ):  # fmt: skip
        held, found = bundle.settings.get(name), settings.get(name)
        if held != found:
            origin = f" '{bundle.settings['weights']}'" if argument == "pretrained" else ""
            msg = f"The bundle was made with {what}{origin} of digest {_short(held)}, but these have {_short(found)}. "
            raise ValueError(msg + f"Set {argument} (--{argument}) to the file or name of the same {what}.")


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def check_settings(bundle: Bundle, settings: Mapping[str, Any]) -> None:
    """Check that the detector has the settings of the bundle, which a release with other defaults would not give.

    Raises:
        ValueError: If it has not; the message names those that differ.
    """
    now = as_read(settings)
    names = sorted((now.keys() | bundle.settings.keys()) - OF_PLACE)
    changes = [
        f"{name} ({bundle.settings.get(name)!r}, now {now.get(name)!r})"
        for name in names
        if now.get(name) != bundle.settings.get(name)
    ]
    if changes:
        release = bundle.versions.get("dualclip_lightning")
        msg = f"The settings of the bundle mean something else in this release: {', '.join(changes)}. "
        raise ValueError(msg + f"Use dualclip_lightning {release}, or make the bundle again.")


def version_changes(held: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return a sentence about the libraries whose versions differ; empty if none does."""
    changes = [
        f"{name} {held.get(name, 'absent')} (now {now.get(name, 'absent')})"
        for name in sorted(held.keys() | now.keys())
        if held.get(name) != now.get(name)
    ]
    if not changes:
        return ""
    return (
        f"The bundle was made with {', '.join(changes)}. Scores may differ slightly from those of its threshold; "
        "'dualclip calibrate' makes it again."
    )
