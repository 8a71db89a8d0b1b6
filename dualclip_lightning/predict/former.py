"""The options of a former run, to recognise the same request and to reuse its settings (`--from`)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualclip_lightning.predict.limits import METHOD
from dualclip_lightning.utilities.record import NAME, read_record

SETTINGS = frozenset({
    "class_name", "backbone", "pretrained", "preprocessing", "image_size", "reference", "references", "num_references",
    "bank_size", "spatial_window", "geometry", "tile", "overlap", "temperature", "alpha", "class_weight", "seed", "tta",
    "domain", "drawing", "max_megapixels", "method", "arguments", "checkpoint", "min_area", "bundle",
})  # fmt: skip
"""Options that `--from` reuses: those of the detector."""
ALIKE = ("method", "class_name", "temperature", "alpha", "class_weight", "drawing", "seed", "spatial_window")
"""Settings of a detector that equal the value of their option."""
ALIKE_IN_ALL = ("method", "class_name", "seed")
"""The settings among them that every method has."""
NEWER: dict[str, Any] = {
    "method": METHOD, "arguments": {}, "checkpoint": None, "min_area": 0, "coco": False, "bundle": None,
    "heatmap_format": "png",
}  # fmt: skip
"""Options that runs of earlier versions do not record; a run with these values is still recognised."""
NO_RESULT = frozenset({
    "command", "former", "out", "fresh", "device", "devices", "runner", "cpus_per_worker", "batch_size", "quiet",
    "verbose", "changes",
})  # fmt: skip
"""Options that change neither a score nor a file."""
BESIDE_BUNDLE = frozenset({"bundle", "pretrained", "checkpoint", "max_megapixels", "min_area"})
"""The settings among them that are not those of the bundle, if there is one."""
THRESHOLD = "threshold.json"


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options by which a run is recognised, with the content of the file that a threshold comes from."""
    own = {name: value for name, value in vars(options).items() if name not in NO_RESULT}
    own = {name: value for name, value in own.items() if name not in NEWER or value != NEWER[name]}
    if options.bundle is not None:
        own = {name: value for name, value in own.items() if name not in SETTINGS - BESIDE_BUNDLE}
    file = Path(str(options.threshold))
    return {**own, "directory": str(Path.cwd()), "threshold_file": file.read_text() if file.is_file() else None}


def check_threshold(options: argparse.Namespace) -> None:
    """Check that a threshold's file can be read and was made with the same settings, as far as the options tell.

    Raises:
        ValueError: If this is not so; the message names what differs.
    """
    text = options.threshold
    if text is None or text in {"auto", "none"} or _is_number(text) or options.bundle is not None:
        return
    from dualclip_lightning.predict.scoring.thresholds import Threshold  # noqa: PLC0415 - imports numpy

    alike = ALIKE if options.method == METHOD else ALIKE_IN_ALL
    told = {name: getattr(options, name) for name in alike if name not in options.arguments}
    Threshold.load(text).check_settings(told)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def former_options(path: Path) -> dict[str, Any]:
    """Return settings by the name of their option, with the threshold's file under "threshold" if there is one.

    Args:
        path: folder of a run, or a threshold's file.

    Raises:
        ValueError: If it is neither, or no options give its settings.
    """
    folder = path if path.is_dir() else path.parent
    file = folder / THRESHOLD if path.is_dir() else path
    record = read_record(folder)
    if record is not None and (path.is_dir() or path.name in {THRESHOLD, NAME}):
        found = _of_record(record)
        file = folder / THRESHOLD
    else:
        found = _of_settings(_threshold_settings(path), path)
    return {**found, "threshold": str(file)} if file.is_file() else found


def _of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in record["options"].items() if name in SETTINGS}
    if "arguments" in found:
        found["arguments"] = _said(found["arguments"])
    home = Path(record["directory"])
    for name in ("reference", "pretrained", "checkpoint", "bundle"):  # relative to the directory of that run's start
        there = home / str(found.get(name))
        if found.get(name) and there.exists() and not Path(found[name]).exists():
            found[name] = str(there)
    return found


def _threshold_settings(path: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"Expected --from to name the folder of a run or a threshold's file, but there is none at '{path}'."
        raise ValueError(msg) from error
    if not settings:
        msg = f"The threshold in '{path}' does not say with which settings it was made. Give the options instead."
        raise ValueError(msg)
    return settings


def _said(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a method in the form of `--set`."""
    return [f"{name}={json.dumps(value)}" for name, value in arguments.items()]


def _of_settings(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the options that give a detector these settings.

    Raises:
        ValueError: If no options give these settings.
    """
    prompts, mode = settings["prompts"], settings["references"]
    if "layers_sha256" in settings:
        msg = f"'{path}' does not say from which checkpoint its layers are. Give the options instead of --from."
        raise ValueError(msg)
    said = dict(settings["arguments"]) if "arguments" in settings else _arguments_of_default(settings)
    said |= {name: prompts[name] for name in ("states", "templates") if prompts[name] is not None}
    found = {name: settings[name] for name in (ALIKE if settings["method"] == METHOD else ALIKE_IN_ALL)}
    found |= {"pretrained": settings["weights"], "domain": prompts["domain"],
              "geometry": settings["geometry"]["mode"], "image_size": settings["preprocessing"]["size"]}  # fmt: skip
    if settings["weights"] != "demo":  # "demo" has its own architecture
        found["backbone"] = settings["backbone"]
    if settings["geometry"]["mode"] == "tiles":
        found |= {name: settings["geometry"][name] for name in ("tile", "overlap")}
    if isinstance(settings["drawing"], dict):
        said["drawing"] = settings["drawing"]
        found.pop("drawing", None)
    if "num_references" in said:
        said.pop("num_references")
    found["arguments"] = _said(said)
    if mode != "folder" and (mode != "none" or settings["method"] == METHOD):  # path unknown, or not applicable
        found["references"] = mode
    if mode in {"pairs", "stream"}:
        found["num_references" if mode == "pairs" else "bank_size"] = settings["num_references"]
    return found


def _arguments_of_default(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of Dual-Image CLIP that have no option of their own and are not the default."""
    mean = settings["prompts"].get("text_mean", "unit")  # "unit" in versions before this setting existed
    found = {"vv_blocks": settings["vv_blocks"], "tta": settings["tta"], "text_mean": None if mean == "raw" else mean}
    other = settings.get("reference_backbone")
    if other is not None:
        found["reference_backbone"] = other["backbone"]
        if other["weights"] not in other["backbone"]:  # a repository or folder brings its weights
            found["reference_pretrained"] = other["weights"]
    return {name: value for name, value in found.items() if value} | (settings.get("comparison") or {})
