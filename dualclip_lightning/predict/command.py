"""The command `dualclip predict PATH`: scores, heatmaps and decisions for your own images."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from rich.console import Console

from dualclip_lightning.images.finding.listing import Listing
from dualclip_lightning.images.painting import Scale
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.decisions import good_images, good_threshold, own_threshold, stated_threshold
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.ending import DONE, SOME_FAILED, answering_errors, consoles
from dualclip_lightning.predict.former import asked
from dualclip_lightning.predict.input.geometry import Geometry
from dualclip_lightning.predict.output.folders import Place, choose_place, make_request
from dualclip_lightning.predict.output.pictures.drawing import Drawing
from dualclip_lightning.predict.output.progress import ProgressReporter
from dualclip_lightning.predict.output.summary import summarise
from dualclip_lightning.predict.run import Run
from dualclip_lightning.predict.shards.choosing import runner_of
from dualclip_lightning.predict.shards.worker import Runner, make_detector, score_settings
from dualclip_lightning.utilities.record import now, read_record


def run(options: Namespace, listing: Listing) -> int:
    """Run the command with the options of `options.parse` and their images, and return its exit status.

    0: every image was scored. 1: some could not be used; they are listed, and the rest were scored. 2: nothing was run,
    because the request is invalid. 3: a result could not be written, memory ran out or a process died.
    130: interrupted; finished results are kept.
    """
    console, errors, notes = consoles(options)
    with answering_errors(errors, options) as ended, _terminated_like_interrupted():
        ended.status = _predict(options, listing, console, notes)
    return ended.status


def _predict(options: Namespace, listing: Listing, console: Console, notes: Console) -> int:
    if options.out.exists() and not options.out.is_dir():
        msg = f"Expected --out to be a folder, but '{options.out}' is a file."
        raise ValueError(msg)
    arguments = detector_arguments(options)
    with runner_of(options.runner, arguments, options.devices, options.cpus_per_worker) as runner:
        # With a runner, whose workers use the devices, the detector of this process only holds the settings.
        detector = make_detector(arguments if runner is None else {**arguments, "device": "cpu"})
        return _run(options, listing, detector, runner, console, notes)


def _run(
    options: Namespace, listing: Listing, detector: Detector, runner: Runner | None, console: Console, notes: Console
) -> int:
    drawing = _drawing(options)
    good = [] if options.good is None else good_images(options, detector, notes)
    chosen = None if good else stated_threshold(options, detector)
    if expected := detector.forecast([*listing.paths, *good], timed=runner is None):
        _note(notes, expected)
    with ProgressReporter(notes) as progress:
        place, about = _place(options, detector, [*listing.paths, *good], notes)
        files = Run(detector, place.folder, drawing, options.gallery, progress, runner, about, place.former,
                    options.coco)  # fmt: skip
        files.start()
        chosen = good_threshold(options, good, files) if good else chosen
        is_known = chosen is not None or options.threshold == "none"
        report = files(listing.paths, chosen if is_known else partial(own_threshold, options, detector, notes),
                     [Failure(name, reason) for name, reason in listing.unreadable.items()])  # fmt: skip
    for line in summarise(report, listing, place.folder):
        console.print(line, markup=False)
    return SOME_FAILED if report.failures else DONE


def _place(
    options: Namespace, detector: Detector, paths: Sequence[Path], notes: Console
) -> tuple[Place, dict[str, Any]]:
    """Return the folder of this run and the request for its record; `options.out` is set to the folder."""
    request = make_request(asked(options), score_settings(detector), paths)
    place = choose_place(options.out, request, fresh=options.fresh)
    if place.folder != options.out:
        _note(notes, f"Results go to '{place.folder}'.")
    options.out = place.folder
    earlier = read_record(place.folder) or {}
    about = {
        "date": earlier.get("date", now()), "command": options.command, "directory": str(Path.cwd()),
        "input": options.paths, "options": request.options, "digest": request.digest,
    }  # fmt: skip
    return place, about


def detector_arguments(options: Namespace) -> dict[str, Any]:
    """Return the arguments of the detector for `make_detector`."""
    if options.bundle is not None:
        return {"bundle": options.bundle, "device": options.device, **options.changes}
    size = options.image_size
    return {
        "class_name": options.class_name,
        "method": options.method,
        "backbone": options.backbone,
        "pretrained": options.pretrained,
        "checkpoint": options.checkpoint,
        "preprocessing": options.preprocessing,
        "image_size": None if size is None else size[0] if len(size) == 1 else (size[0], size[1]),
        "reference_dir": options.reference,
        "compare_with": options.references,
        "num_references": options.num_references,
        "bank_size": options.bank_size,
        "spatial_window": options.spatial_window,
        "min_area": options.min_area,
        "geometry": Geometry(options.geometry, options.tile, options.overlap),
        "temperature": options.temperature,
        "alpha": options.alpha,
        "class_weight": options.class_weight,
        "seed": options.seed,
        "tta": options.tta or None,
        "domain": options.domain,
        "drawing": options.drawing,
        "batch_size": options.batch_size,
        "device": options.device,
        "max_megapixels": options.max_megapixels,
    } | options.arguments


def _drawing(options: Namespace) -> Drawing:
    return Drawing(options.heatmaps, options.maps, options.masks, read_scale(options.scale),
                   heatmap_format=options.heatmap_format)  # fmt: skip


def read_scale(words: Sequence[str]) -> Scale | Literal["run"] | None:
    """Return the colour scale of heatmaps from the words of `--scale`.

    Raises:
        ValueError: If they are neither two numbers, the smaller first, nor "run" or "image".
    """
    if words == ["run"]:
        return "run"
    if words == ["image"]:
        return None
    try:
        low, high = map(float, words)
    except ValueError:
        msg = f"Expected --scale as two numbers, 'run' or 'image', but got {' '.join(words)}."
        raise ValueError(msg) from None
    if not low < high:
        msg = f"Expected --scale as two numbers, the smaller first, but got {low:g} and {high:g}."
        raise ValueError(msg)
    return low, high


def _note(notes: Console, text: str) -> None:
    notes.print(text, markup=False)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM in the same way as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
