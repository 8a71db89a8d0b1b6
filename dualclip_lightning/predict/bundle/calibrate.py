"""The command `dualclip calibrate PATH --out FILE`: a bundle from images believed good."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from dualclip_lightning.images.finding.listing import Listing
from dualclip_lightning.images.sources import Failure, file_sources
from dualclip_lightning.predict.command import detector_arguments
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.ending import consoles, writing_one_file
from dualclip_lightning.predict.limits import METHOD, RATE, REFERENCES
from dualclip_lightning.predict.output.progress import ProgressReporter
from dualclip_lightning.predict.output.summary import printable
from dualclip_lightning.predict.scoring.quantiles import check_shares, from_good
from dualclip_lightning.predict.scoring.thresholds import Threshold, counted
from dualclip_lightning.utilities.seeding import derive_seed, file_identity


class GoodImages(NamedTuple):
    """Images believed good, by use."""

    references: list[Path]
    """Those with which every image is compared."""
    measured: list[Path]
    """Those whose scores give the threshold, which are treated exactly as later images."""


def run(options: Namespace, listing: Listing) -> int:
    """Run the command with the options of `calibrate_options.parse` and their images, and return its exit status.

    0: the bundle was written. 2: the request is invalid or an image cannot be used. 3: the bundle cannot be written, or
    memory ran out. 130: interrupted. If it is not 0, nothing was written.
    """
    console, errors, notes = consoles(options)
    with writing_one_file(errors, options.out, "Lower --batch-size or --image-size.") as ended:
        _calibrate(options, listing, console, notes)
    return ended.status


def _calibrate(options: Namespace, listing: Listing, console: Console, notes: Console) -> None:
    check_shares(false_alarm_rate=_rate(options))
    for failure in listing.unreadable.items():
        _refuse(Failure(*failure))
    parts = split(listing.paths, _count(options), options.seed)
    options.reference = parts.references or None
    options.references = "pairs" if parts.references else "none"
    detector = Detector(**detector_arguments(options))
    if parts.references and detector.mode == "none":
        msg = "With alpha 1, text alone gives the scores, and references count for nothing. Set --num-references 0."
        raise ValueError(msg)
    detector.as_bundle()  # says at once if its references cannot be stored
    with ProgressReporter(notes) as progress:
        detector.threshold = measure(detector, parts.measured, _rate(options), progress)
    detector.save(options.out, overwrite=options.overwrite)
    for line in _report(parts, detector.threshold, options.out, listing):
        console.print(line, markup=False)


def split(paths: Sequence[Path], count: int, seed: int) -> GoodImages:
    """Divide images into references, drawn at random, and those that give the threshold.

    An image cannot serve as both: without one of the references, or compared with itself, its score would not be like
    that of a later image. The draw depends on the seed and the names, not on the order.

    Raises:
        ValueError: If no image is left for the threshold.
    """
    if len(paths) <= count:
        msg = f"Expected more than {counted(count, 'image')}, because {count} become references and others must give "
        msg += f"the threshold, but got {len(paths)}. Give more images or lower --num-references."
        raise ValueError(msg)
    drawn = sorted(paths, key=lambda path: (derive_seed(seed, "reference", file_identity(str(path))), str(path)))
    chosen = set(drawn[:count])
    return GoodImages([path for path in paths if path in chosen], [path for path in paths if path not in chosen])


def measure(detector: Detector, paths: Sequence[Path], rate: float, progress: ProgressReporter) -> Threshold:
    """Return the threshold from images believed good, as `Detector.calibrate` does, and report the progress."""
    found = []
    progress.begin("scoring", len(paths), 0)
    for _, outcome in detector.score(file_sources(paths, detector.max_megapixels)):
        if isinstance(outcome, Failure):
            _refuse(outcome)
        else:
            found.append(outcome)
        progress.advance()
    return from_good(found, rate, settings=detector.settings)


def _refuse(failure: Failure) -> None:
    msg = f"Cannot use '{failure.name}': {failure.reason} Repair it, or leave it out with --exclude."
    raise ValueError(msg)


def _count(options: Namespace) -> int:
    if options.count is not None:
        return options.count
    text_alone = options.arguments.get("alpha", options.alpha) == 1
    return REFERENCES if options.method == METHOD and not text_alone else 0


def _rate(options: Namespace) -> float:
    return RATE if options.false_alarm_rate is None else options.false_alarm_rate


def _report(parts: GoodImages, threshold: Threshold | None, out: Path, listing: Listing) -> list[str]:
    used = [printable(str(path)) for path in parts.references]
    lines = [f"{counted(len(used), 'reference')}{': ' * bool(used)}{', '.join(used)}"]
    if threshold is not None:
        lines.append(threshold.describe())
    if listing.left_out:
        lines.append(printable(listing.left_out))
    size = out.stat().st_size / 1e6
    return [*lines, printable(f"Bundle: {out} ({size:.1f} MB). Use it with 'dualclip predict PATH --bundle {out}'.")]
