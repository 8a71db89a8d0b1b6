"""What a former run was asked: to know the same request again, and to take its settings over (`--from`)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualclip_lightning.utilities.record import NAME, read_record

SETTINGS = frozenset({
    "class_name", "backbone", "pretrained", "preprocessing", "image_size", "reference", "references", "num_references",
    "bank_size", "spatial_window", "geometry", "tile", "overlap", "temperature", "alpha", "class_weight", "seed", "tta",
    "domain", "drawing", "max_megapixels",
})  # fmt: skip
"""Options that `--from` takes over: those of the detector."""
ALIKE = ("class_name", "temperature", "alpha", "class_weight", "drawing", "seed", "spatial_window")
"""Settings of a detector that are what their option says."""
NO_RESULT = frozenset({"command", "former", "out", "fresh", "device", "devices", "batch_size", "quiet", "verbose"})
"""Options that change neither a score nor a file."""
THRESHOLD = "threshold.json"


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The options by which a run is known again, with the state of the file that a threshold comes from."""
    own = {name: value for name, value in vars(options).items() if name not in NO_RESULT}
    file = Path(str(options.threshold))
    return {**own, "directory": str(Path.cwd()), "threshold_file": file.read_text() if file.is_file() else None}


def check_threshold(options: argparse.Namespace) -> None:
    """Refuse a threshold's file that cannot be read or was made for other settings, as far as options tell them.

    Raises:
        ValueError: names what differs.
    """
    text = options.threshold
    if text is None or text in {"auto", "none"} or _is_number(text):
        return
    from dualclip_lightning.predict.scoring.thresholds import Threshold  # noqa: PLC0415 - imports numpy

    Threshold.load(text).check_settings({name: getattr(options, name) for name in ALIKE})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def former_options(path: Path) -> dict[str, Any]:
    """Settings by the name of their option, and under "threshold" the threshold's file, if there is one.

    Args:
        path: folder of a run, or a threshold's file.

    Raises:
        ValueError: neither, or settings that no option can say.
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
    home = Path(record["directory"])
    for name in ("reference", "pretrained"):  # paths that were relative to where that run was started
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


def _of_settings(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Options that give a detector these settings."""
    prompts, mode = settings["prompts"], settings["references"]
    unsayable = [name for name in ("states", "templates") if prompts[name] is not None]
    unsayable += ["text_mean"] if prompts.get("text_mean") != "raw" else []  # before it was one, it was "unit"
    unsayable += ["vv_blocks"] if settings["vv_blocks"] is not None else []
    unsayable += [name for name in ("tta", "drawing") if isinstance(settings[name], dict)]
    if unsayable:
        msg = f"No option says {', '.join(unsayable)} as '{path}' has it. Use it from Python, with Detector."
        raise ValueError(msg)
    found = {name: settings[name] for name in ALIKE}
    found |= {"pretrained": settings["weights"], "domain": prompts["domain"],
              "geometry": settings["geometry"]["mode"], "image_size": settings["preprocessing"]["size"]}  # fmt: skip
    if settings["weights"] != "demo":  # which brings its own architecture
        found["backbone"] = settings["backbone"]
    if settings["geometry"]["mode"] == "tiles":
        found |= {name: settings["geometry"][name] for name in ("tile", "overlap")}
    if mode != "folder":  # which it does not name
        found["references"] = mode
    if mode in {"pairs", "stream"}:
        found["num_references" if mode == "pairs" else "bank_size"] = settings["num_references"]
    return found
