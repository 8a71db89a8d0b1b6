"""Options of `dualclip predict PATH` that contradict each other."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dualclip_lightning.predict.limits import OF_METHOD


def contradictions(options: argparse.Namespace) -> Iterator[str]:
    """Yield a message for every option that would otherwise be ignored without notice."""
    measured = options.good is not None or options.threshold in {None, "auto"}
    if options.good is not None and options.threshold not in {None, "auto"}:
        yield "--good and --threshold exclude each other"
    if options.false_alarm_rate is not None and not measured:
        yield "--false-alarm-rate goes with --good or --threshold auto"
    if options.false_alarm_rate is not None and not 0 < options.false_alarm_rate < 1:
        yield "argument --false-alarm-rate: expected a share above 0 and below 1"
    if options.pixel_threshold is not None and measured:
        yield "--pixel-threshold goes with a number as --threshold"
    for name in ("scale", "heatmap_format"):
        if getattr(options, name) is not None and not options.heatmaps:
            yield f"--{name.replace('_', '-')} is for heatmaps, and none are drawn"
    yield from _negative(options)


def contradicting_settings(options: argparse.Namespace) -> Iterator[str]:
    """Yield the same for the settings of a detector that does not come from a bundle."""
    if options.image_size is not None and len(options.image_size) > 2:  # noqa: PLR2004
        yield "argument --image-size: expected a side, or a height and a width"
    for name in ("tile", "overlap"):
        if getattr(options, name) is not None and options.geometry != "tiles":
            yield f"--{name} goes with --geometry tiles"
    yield from _contradicting_references(options)
    yield from _contradicting_arguments(options)


def contradicting_runner(options: argparse.Namespace) -> Iterator[str]:
    """Yield the same for the options of the processes that score."""
    if options.cpus_per_worker is not None and options.runner != "ray":
        yield "--cpus-per-worker goes with --runner ray"
    if options.runner == "ray" and options.device not in {"auto", "cpu", "cuda"}:
        yield "--runner ray goes with --device auto, cpu or cuda; Ray chooses which GPU a worker gets"


def _negative(options: argparse.Namespace) -> Iterator[str]:
    for name, meaning in {"gallery": "images, or 0 for none", "min_area": "pixels, or 0 for all regions"}.items():
        if getattr(options, name) < 0:
            yield f"argument --{name.replace('_', '-')}: expected a number of {meaning}"


def _contradicting_arguments(options: argparse.Namespace) -> Iterator[str]:
    for name in options.arguments:
        option = f"--{name.replace('_', '-')}"
        if name in OF_METHOD.keys() - {"pretrained"} | {"tta"}:
            if getattr(options, name) not in {None, False}:
                yield f"--set {name} and {option} exclude each other"
        elif name in vars(options) or name in {"reference_dir", "compare_with"}:
            yield f"--set is for arguments of the method; give {option} instead of --set {name}"


def _contradicting_references(options: argparse.Namespace) -> Iterator[str]:
    if options.reference is not None and options.references is not None:
        yield "--reference-dir and --compare-with exclude each other"
    if options.num_references is not None and (options.reference or options.references not in {None, "pairs"}):
        yield "--num-references goes with random pairs"
    if options.bank_size is not None and options.references != "stream":
        yield "--bank-size goes with --compare-with stream"
    if options.alpha == 1 and (options.reference or options.references in {"pairs", "stream"}):
        yield "--alpha 1 is for text alone, and references count for nothing"
    if options.spatial_window is not None and (options.alpha == 1 or options.references == "none"):
        yield "--spatial-window goes with references"
