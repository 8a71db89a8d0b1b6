"""The threshold that the options of a run request."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.limits import RATE
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.run import Run
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, for_later_images, from_good, from_run
from dualclip_lightning.predict.scoring.thresholds import Threshold


def good_images(options: Namespace, detector: Detector, notes: Console) -> list[Path]:
    """Return the paths of the images believed good."""
    listing = find_images([options.good], options.exclude)
    _check_usable(listing.unreadable.items())
    if listing.left_out:
        notes.print(listing.left_out, markup=False)
    detector.check_good(len(listing.paths))
    return listing.paths


def good_threshold(options: Namespace, paths: Sequence[Path], run: Run) -> Threshold:
    """Return the threshold from images believed good."""
    report = run.score(paths, part="good")
    run.detector.forget()
    _check_usable(report.failures)
    return from_good(report.entries, _rate(options), settings=run.detector.settings)


def _check_usable(failures: Iterable[tuple[str, str]]) -> None:
    for name, reason in failures:
        msg = f"Cannot use '{name}' of --good: {reason} Repair it, or leave it out with --exclude."
        raise ValueError(msg)


def stated_threshold(options: Namespace, detector: Detector) -> Threshold | None:
    """Return the threshold that the user gave; None if there is none or if it is taken from the run itself."""
    if options.threshold == "auto":
        return None
    if options.bundle is not None and options.threshold == "bundle":
        return detector.threshold
    chosen = None if options.threshold == "none" else _chosen_threshold(options, detector)
    wanting = next((name for name in ("masks", "coco") if getattr(options, name)), None)
    if wanting and chosen is None:
        msg = f"--{wanting} needs a threshold. Give a number or a file, or use --good or 'auto'."
        raise ValueError(msg)
    return chosen


def _chosen_threshold(options: Namespace, detector: Detector) -> Threshold:
    """Return the threshold given as a number or a file."""
    try:
        score = float(options.threshold)
    except ValueError:
        threshold = Threshold.load(options.threshold)
        threshold.check_settings(detector.settings)
        return for_later_images(threshold)
    return Threshold(score, options.pixel_threshold)


def _rate(options: Namespace) -> float:
    return RATE if options.false_alarm_rate is None else options.false_alarm_rate


def own_threshold(options: Namespace, detector: Detector, notes: Console, entries: Sequence[Entry]) -> Threshold | None:
    """Return the threshold from the unlabelled run, if there is a usable one."""
    try:
        return from_run(entries, _rate(options), settings=detector.settings)
    except NoThresholdError as error:
        notes.print(f"{error} Without one, images have scores but no decision.", markup=False)
        return None
