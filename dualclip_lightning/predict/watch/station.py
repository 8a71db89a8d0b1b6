"""Scoring of the files that arrive in a folder: tables, moves and reports, until it is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, file_sources
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.output.journal import Stamp, file_stamp
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.output.regions.results import PREDICTIONS, prediction_facts
from dualclip_lightning.predict.output.tables import COLUMNS, csv_text, score_row
from dualclip_lightning.predict.watch.arrivals import Arrivals
from dualclip_lightning.predict.watch.files import free_path
from dualclip_lightning.predict.watch.heatmaps import StationHeatmaps
from dualclip_lightning.predict.watch.journal import WatchJournal
from dualclip_lightning.utilities.record import now

SCORES, FAILURES = "scores.csv", "failures.csv"
FOLDERS = {"normal": "ok", "anomalous": "anomalous"}
"""Subfolder of the watched folder for each decision."""


class Stop(Protocol):
    """A request to stop."""

    @property
    def asked(self) -> bool:
        """Whether it was made."""

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until it is made."""


@dataclass
class Station:
    """A detector that scores each file once, as it arrives.

    Args:
        detector: detector that scores them; its threshold decides.
        journal: journal of the results' folder.
        arrivals: the files.
        move: if True, files with a decision are moved into subfolders (`FOLDERS`) of the watched folder.
        patience: number of polls after which a file that cannot be read is given up until it changes.
        tell: receiver of one line per scored file.
        warn: receiver of one sentence per problem.
        heatmaps: heatmaps that are drawn; None for none.
    """

    detector: Detector
    journal: WatchJournal
    arrivals: Arrivals
    move: bool = False
    patience: int = 10
    tell: Callable[[str], None] = print
    warn: Callable[[str], None] = print
    heatmaps: StationHeatmaps | None = None
    scored: int = 0
    anomalous: int = 0
    failed: int = 0

    def recall(self) -> None:
        """Fill the bank of a stream with the latest scored images that are still there, as if it had not stopped.

        A heatmap of an image that was not yet written to the tables is removed, since the image is scored again.
        """
        if self.heatmaps is not None:
            self.heatmaps.remove(self.journal.steps + 1)
        if self.detector.mode == "stream":
            paths = [Path(name) for name, stamp in self.journal.latest if file_stamp(name) == stamp]
            for _ in self.detector.score(file_sources(paths, self.detector.max_megapixels)):
                pass

    def process(self, files: Mapping[Path, Stamp], stop: Stop) -> None:
        """Score complete files in the order given, until there are no more or a stop is asked for.

        Raises:
            OSError: If a result cannot be written; the journal then completes it at the next start.
        """
        paths = list(files)
        for position, outcome in self.detector.score(file_sources(paths, self.detector.max_megapixels)):
            path = paths[position]
            if isinstance(outcome, Failure):
                self._fail(path, files[path], outcome.reason)
            elif file_stamp(path) == files[path]:  # otherwise it was changed while it was read, and is not complete
                self._keep(path, files[path], outcome)
            if stop.asked:
                return

    def _keep(self, path: Path, stamp: Stamp, found: Prediction) -> None:
        target = self._target(path, found)
        moved_to = None if target is None else str(target).encode("utf-8", "backslashreplace").decode()
        number = self.journal.steps + 1
        further = {"number": number, "time": now(), "moved_to": moved_to}
        facts = prediction_facts(found, found.regions, found.threshold) | further
        row = (*score_row(found, found.threshold), *further.values())
        if self.heatmaps is not None:
            facts["heatmap"] = self._draw(self.heatmaps, number, found)
        lines = {
            SCORES: (csv_text([(*COLUMNS, *further)]), csv_text([row])),
            PREDICTIONS: ("", f"{json.dumps(facts)}\n"),
        }
        reason = self.journal.add(str(path), stamp, lines, target)
        self.arrivals.done(path)
        self.scored += 1
        self.anomalous += found.decision == "anomalous"
        self.tell(f"{path}  {found.score:.4f}  {found.decision or 'no decision'}")
        if reason is not None:
            self.warn(f"Cannot move '{path}' to '{target}' ({reason}); it stays where it is.")

    def _draw(self, heatmaps: StationHeatmaps, number: int, found: Prediction) -> str | None:
        try:
            return heatmaps.draw(number, found)
        except ImageError as error:
            self.warn(f"'{found.name}' was scored, but could not be drawn: {error}")
            return None

    def _fail(self, path: Path, stamp: Stamp, reason: str) -> None:
        """Give a file up, unless it may only be incomplete."""
        if file_stamp(path) != stamp or self.arrivals.polls(path) < self.patience:
            return
        row = csv_text([(str(path), reason, now())])
        lines = {FAILURES: (csv_text([("path", "reason", "time")]), row)}
        self.journal.add(str(path), stamp, lines, None, scored=False)
        self.arrivals.done(path)
        self.failed += 1
        self.warn(f"Cannot use '{path}': {reason} It is tried again if it changes.")

    def _target(self, path: Path, found: Prediction) -> Path | None:
        if not self.move or found.decision is None:
            return None
        folder = self.arrivals.folder
        return free_path(folder / FOLDERS[found.decision] / path.relative_to(folder))


def watch(station: Station, stop: Stop, interval: float, *, once: bool = False) -> None:
    """Score what arrives until a stop is asked for.

    Args:
        station: station that scores it.
        stop: request to stop, which takes effect after the image in work.
        interval: seconds between polls.
        once: if True, end when all files are scored or given up; files that keep changing are left out after as many
            polls as the station's patience.

    Raises:
        OSError: Same as `Station.process`.
    """
    said: set[str] = set()
    polls = 0
    while not stop.asked:
        files = station.arrivals.poll()
        polls += 1
        unreadable = station.arrivals.unreadable
        for name in unreadable.keys() - said:
            station.failed += once
            station.warn(f"Cannot read '{name}': {unreadable[name]} It is tried again at every poll.")
        said = set(unreadable)
        station.process(files, stop)
        if once and not station.arrivals.waiting:
            return
        if once and polls > station.patience:
            for name in station.arrivals.waiting:
                station.failed += 1
                station.warn(f"'{name}' is still being written and was left out.")
            return
        stop.wait(interval)


def is_in_subfolders(path: Path, folder: Path) -> bool:
    """Return whether a file lies in one of the subfolders into which files of the watched folder are moved."""
    return path.relative_to(folder).parts[0] in FOLDERS.values()
