"""The command `dualclip watch FOLDER`: scores the images that arrive in a folder."""

from __future__ import annotations

import os
import signal
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from rich.console import Console

from dualclip_lightning.images.finding.listing import matches
from dualclip_lightning.predict.command import detector_arguments, read_scale
from dualclip_lightning.predict.decisions import stated_threshold
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.ending import DONE, SOME_FAILED, answering_errors, consoles
from dualclip_lightning.predict.former import THRESHOLD, asked
from dualclip_lightning.predict.limits import NO_PAIRS
from dualclip_lightning.predict.output.tables import threshold_facts
from dualclip_lightning.predict.shards.worker import make_detector, score_settings
from dualclip_lightning.predict.watch.arrivals import Arrivals
from dualclip_lightning.predict.watch.heatmaps import StationHeatmaps
from dualclip_lightning.predict.watch.journal import WatchJournal, check_place
from dualclip_lightning.predict.watch.station import Station, is_in_subfolders, watch
from dualclip_lightning.utilities.record import now, write_record


def run(options: Namespace) -> int:
    """Run the command with the options of `options.parse`, and return its exit status.

    0: stopped by a signal, or with `once` every file was scored. 1: the same, but some files could not be used.
    2: nothing was run, because the request is invalid. 3: a result could not be written, or memory ran out. 130:
    interrupted before the first image, or by a second signal.
    """
    console, errors, notes = consoles(options)
    with answering_errors(errors, options) as ended:
        ended.status = _watch(options, console, notes)
    return ended.status


def _watch(options: Namespace, console: Console, notes: Console) -> int:
    check_place(options.out)
    detector = make_detector(detector_arguments(options))
    if detector.mode == "pairs":
        raise ValueError(NO_PAIRS)
    detector.threshold = stated_threshold(options, detector)
    folder = Path(os.path.abspath(options.folder))  # noqa: PTH100 - links stay as named
    keep = detector.num_references if detector.mode == "stream" else 0
    with WatchJournal(options.out, {**score_settings(detector), "folder": str(folder)}, keep) as journal:
        _write_facts(options, detector)

        def left_out(path: Path) -> bool:
            return matches(path, options.exclude) or is_in_subfolders(path, folder)

        arrivals = Arrivals(folder, journal.known, left_out)
        station = Station(
            detector, journal, arrivals, options.move, options.patience,
            lambda line: console.print(line, markup=False), lambda line: notes.print(line, markup=False),
            _heatmaps(options),
        )  # fmt: skip
        with stopped_by_signals() as stop:
            station.recall()
            notes.print(f"Watching '{options.folder}'; results go to '{options.out}'.", markup=False)
            watch(station, stop, options.interval, once=options.once)
    decided = "" if detector.threshold is None else f" ({station.anomalous} anomalous)"
    console.print(
        f"{station.scored} scored{decided}, {station.failed} not usable, results in '{options.out}'.", markup=False
    )
    return SOME_FAILED if station.failed else DONE


def _heatmaps(options: Namespace) -> StationHeatmaps | None:
    if options.heatmaps is None:
        return None
    scale = read_scale(options.scale)
    return StationHeatmaps(
        options.out, options.heatmaps == "anomalous", None if scale == "run" else scale, options.heatmap_format,
        options.max_megapixels,
    )  # fmt: skip


def _write_facts(options: Namespace, detector: Detector) -> None:
    """Write `run.json`, by which the folder is recognised as results, and the threshold."""
    if detector.threshold is not None:
        detector.threshold.save(options.out / THRESHOLD)
    else:
        (options.out / THRESHOLD).unlink(missing_ok=True)
    content = {
        "date": now(), "command": options.command, "directory": str(Path.cwd()), "input": [str(options.folder)],
        "options": asked(options), "settings": detector.settings, "weights_origin": detector.weights_origin,
        "threshold": threshold_facts(detector.threshold), "device": str(detector.device),
    }  # fmt: skip
    write_record(options.out, content)


class SignalStop:
    """A request to stop that a signal makes."""

    def __init__(self) -> None:
        self.asked = False
        self._made: SimpleQueue[None] = SimpleQueue()  # unlike an Event, it may be used in a signal handler

    def ask(self) -> None:
        """Make the request."""
        self.asked = True
        self._made.put(None)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until the request is made."""
        with suppress(Empty):
            self._made.get(timeout=seconds)


@contextmanager
def stopped_by_signals() -> Iterator[SignalStop]:
    """Let the first SIGINT or SIGTERM ask for a stop; a second one has its usual effect."""
    stop = SignalStop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.ask()
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
