"""A run over files that stores each score at once, draws pictures at the end and can be continued if it was stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dualclip_lightning.images.sources import Failure, Source, file_sources
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.predict.limits import GALLERY
from dualclip_lightning.predict.output.drawings import Drawing, draw_all
from dualclip_lightning.predict.output.folders import WORK
from dualclip_lightning.predict.output.gallery import write_gallery
from dualclip_lightning.predict.output.journal import Entry, Journal, file_stamp
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.regions.results import RegionFinder, ShownRegions, write_regions
from dualclip_lightning.predict.output.report import Report, Reporter, Silent
from dualclip_lightning.predict.output.tables import threshold_facts, write_failures, write_scores
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.predict.shards.worker import Runner, score_settings
from dualclip_lightning.utilities.record import write_record
from dualclip_lightning.utilities.versions import ADAPTATION, SCORING, versions

Chooser = Callable[[Sequence[Entry]], "Threshold | None"]
"""Function that returns the threshold, given all scored images of the run."""


@dataclass(frozen=True)
class Run:
    """A run of a detector over image files into a folder.

    Args:
        detector: detector that scores them.
        folder: folder for all results.
        drawing: choice of the files that are drawn for every image.
        gallery: maximum number of images in the gallery; 0 writes none.
        reporter: receiver of the progress.
        runner: where images are scored; None for this process, by the detector.
        about: further facts for `run.json`, as plain data.
        former: folder of a run with the same settings, whose scores are reused.
        coco: if True, write the regions of anomalous images as `coco.json`.
    """

    detector: Detector
    folder: Path
    drawing: Drawing = field(default_factory=Drawing)
    gallery: int = GALLERY
    reporter: Reporter = field(default_factory=Silent)
    runner: Runner | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    former: Path | None = None
    coco: bool = False

    def score(self, paths: Sequence[Path], part: str) -> Report:
        """Score files, or take their scores from an earlier run with the same settings; nothing is drawn.

        Raises:
            ValueError: If an earlier run had other settings, or another run is writing to the folder.
            OSError: If a result cannot be written; earlier results are kept.
        """
        with self._journal(part) as journal:
            return self._score(paths, journal, f"scoring {part}")

    def __call__(self, paths: Sequence[Path], choose: Chooser, failures: Sequence[Failure] = ()) -> Report:
        """Score files, decide, draw, and write everything.

        Args:
            paths: the images, each once.
            choose: function that returns the threshold.
            failures: failures that are already known.

        Raises:
            ValueError: Same as `score`.
            OSError: Same as `score`.
            KeyboardInterrupt: If the user interrupts it; the scores so far are written first.
        """
        with self._journal("images") as journal:
            report = Report()
            try:
                report = self._score(paths, journal)
            except KeyboardInterrupt:
                journal.read_again()
                self._write_tables(Report(_known(paths, journal)))
                raise
            report.failures[:0] = failures
            report.threshold = choose(report.entries)
            self._write_tables(report)
            self._draw(report, journal)
            self._write_tables(report, finished=now())
        return report

    def start(self) -> None:
        """Record the request, so that the folder is recognised as that of a run.

        Raises:
            OSError: If it cannot be written.
        """
        write_record(self.folder, {**self.about, "finished": None, "settings": self.detector.settings})

    def _journal(self, part: str) -> Journal:
        journal = Journal(self.folder / WORK / part, score_settings(self.detector))
        if self.former is not None:
            journal.adopt(self.former / WORK / part)
        return journal

    def _score(self, paths: Sequence[Path], journal: Journal, stage: str = "scoring") -> Report:
        sources = file_sources(paths, self.detector.max_megapixels)
        stamps = [file_stamp(path) for path in paths]
        done = {i for i, source in enumerate(sources) if journal.knows(source.name, stamps[i])}
        self.reporter.begin(stage, len(sources), len(done))
        failures: dict[int, Failure] = {}
        for position, outcome in self._outcomes(sources, done):
            if isinstance(outcome, Failure):
                failures[position] = outcome
                journal.entries.pop(outcome.name, None)
            else:
                journal.add(outcome, stamps[position] or (0, 0))
            self.reporter.advance()
        return Report(_known(paths, journal), [failures[i] for i in sorted(failures)], len(done))

    def _devices(self) -> list[str]:
        if self.runner is None:
            return [str(self.detector.device)]
        return [worker.arguments["device"] for worker in self.runner.workers]

    def _outcomes(self, sources: Sequence[Source], done: AbstractSet[int]) -> Iterator[tuple[int, Outcome]]:
        if self.runner is None or len(done) == len(sources):
            return self.detector.score(sources, done)
        return self.runner(self.detector, sources, done)

    def _draw(self, report: Report, journal: Journal) -> None:
        names = [entry.name for entry in report.entries]
        layout = Layout(self.folder, names)
        drawing = replace(self.drawing, drawer=self.detector.drawer, min_area=self.detector.min_area)
        something = drawing.heatmaps or drawing.maps or (drawing.masks and report.threshold is not None)
        reporter = self.reporter if something else Silent()  # without pictures, earlier ones are only removed
        reporter.begin("drawing", len(names), 0)
        for failure in draw_all(journal, names, layout, report.threshold, drawing, self.detector.max_megapixels):
            if failure is not None:
                report.failures.append(failure)
            reporter.advance()
        regions = self._write_regions(report, journal, layout)
        if self.gallery:
            facts = _facts(self.detector.settings)
            write_gallery(
                self.folder / "index.html", report.entries, report.failures, layout, report.threshold, facts,
                self.gallery, self._again(), regions,
            )  # fmt: skip

    def _write_regions(self, report: Report, journal: Journal, layout: Layout) -> ShownRegions:
        finder = RegionFinder(journal, report.threshold, self.detector.drawer, self.detector.min_area)
        return write_regions(report.entries, finder, layout, coco=self.coco)

    def _again(self) -> str:
        """Return the command that reuses the settings and scores of this run."""
        images, options = self.about.get("input", ["PATH"]), self.about.get("options", {})
        left_out = [word for pattern in options.get("exclude", ()) for word in ("--exclude", pattern)]
        return shlex.join(["dualclip", "predict", *images, *left_out, "--from", str(self.folder)])

    def _write_tables(self, report: Report, finished: str | None = None) -> None:
        layout = Layout(self.folder, [entry.name for entry in report.entries])
        write_scores(self.folder / "scores.csv", report.entries, report.threshold, layout)
        write_failures(self.folder / "failures.csv", report.failures)
        if report.threshold is not None:
            report.threshold.save(self.folder / "threshold.json")
        content = {
            **self.about,
            "finished": finished,
            "settings": self.detector.settings,
            "weights_origin": self.detector.weights_origin,
            "threshold": threshold_facts(report.threshold),
            "images": len(report.entries),
            "failures": len(report.failures),
            "devices": self._devices(),
            "versions": versions(*SCORING, *ADAPTATION),
        }
        write_record(self.folder, content)


def now() -> str:
    """Return the date and time to the second, with the UTC offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _known(paths: Sequence[Path], journal: Journal) -> list[Entry]:
    return [journal.entries[str(path)] for path in paths if str(path) in journal.entries]


def _facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as short texts."""
    return {key.replace("_", " "): str(value) for key, value in settings.items() if value not in (None, [], {})}
