"""A run over files that stores each score at once, draws pictures and can be continued if it was stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dualclip_lightning.images.sources import Failure, Source, file_sources
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.predict.limits import GALLERY
from dualclip_lightning.predict.output.folders import WORK
from dualclip_lightning.predict.output.journal import Entry, Journal, file_stamp
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.overviews import write_overviews
from dualclip_lightning.predict.output.pictures.drawing import Drawing, PatchMap
from dualclip_lightning.predict.output.pictures.drawings import Drawings
from dualclip_lightning.predict.output.regions.results import RegionFinder
from dualclip_lightning.predict.output.report import Report, Reporter, Silent
from dualclip_lightning.predict.output.tables import threshold_facts, write_tables
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.predict.shards.worker import Runner, score_settings
from dualclip_lightning.utilities.record import now, write_record
from dualclip_lightning.utilities.versions import ADAPTATION, SCORING, versions

Chooser = Callable[[Sequence[Entry]], "Threshold | None"]
"""Function that returns the threshold, given all scored images of the run; None for no decisions."""


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

    def __call__(
        self, paths: Sequence[Path], threshold: Threshold | Chooser | None, failures: Sequence[Failure] = ()
    ) -> Report:
        """Score files, decide, draw, and write everything.

        Args:
            paths: the images, each once.
            threshold: the threshold, None for no decisions, or the function that chooses it once all are scored. If it
                is known and so is the scale of the heatmaps, images are drawn while others are scored.
            failures: failures that are already known.

        Raises:
            ValueError: Same as `score`.
            OSError: Same as `score`.
            KeyboardInterrupt: If the user interrupts it; the scores so far are written first.
        """
        with self._journal("images") as journal, self._drawings(journal) as drawings:
            report = Report()
            try:
                report = self._score(paths, journal, then=self._early(drawings, paths, threshold))
            except KeyboardInterrupt:
                journal.read_again()
                self._write_tables(Report(_known(paths, journal)))
                raise
            report.failures[:0] = failures
            report.threshold = threshold(report.entries) if callable(threshold) else threshold
            self._write_tables(report)
            self._draw(report, drawings)
            self._write_overviews(report, journal)
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

    def _drawings(self, journal: Journal) -> Drawings:
        drawing = replace(self.drawing, drawer=self.detector.drawer, min_area=self.detector.min_area)
        return Drawings(journal, drawing, self.detector.max_megapixels)

    def _early(
        self, drawings: Drawings, paths: Sequence[Path], threshold: Threshold | Chooser | None
    ) -> Callable[[Entry, PatchMap], None]:
        """Return what is done with an image at once when it is scored."""
        if callable(threshold):
            return lambda *_: None
        # If images fail, the places of the others may change in the end; they are then drawn again.
        return partial(drawings.begin, layout=self._layout(map(str, paths)), threshold=threshold)

    def _layout(self, names: Iterable[str]) -> Layout:
        return Layout(self.folder, names, self.drawing.heatmap_format)

    def _score(
        self, paths: Sequence[Path], journal: Journal, stage: str = "scoring",
        then: Callable[[Entry, PatchMap], None] = lambda *_: None,
    ) -> Report:  # fmt: skip
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
                then(journal.add(outcome, stamps[position] or (0, 0)), outcome.patch_map)
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

    def _draw(self, report: Report, drawings: Drawings) -> None:
        names = [entry.name for entry in report.entries]
        something = drawings.drawing.kinds(report.threshold)
        reporter = self.reporter if something else Silent()  # without pictures, earlier ones are only removed
        reporter.begin("drawing", len(names), 0)
        for failure in drawings.finish(names, self._layout(names), report.threshold):
            if failure is not None:
                report.failures.append(failure)
            reporter.advance()

    def _write_overviews(self, report: Report, journal: Journal) -> None:
        layout = self._layout(entry.name for entry in report.entries)
        finder = RegionFinder(journal, report.threshold, self.detector.drawer, self.detector.min_area)
        write_overviews(
            report, finder, layout, self.detector.settings, coco=self.coco, gallery=self.gallery, again=self._again()
        )

    def _again(self) -> str:
        """Return the command that reuses the settings and scores of this run."""
        images, options = self.about.get("input", ["PATH"]), self.about.get("options", {})
        left_out = [word for pattern in options.get("exclude", ()) for word in ("--exclude", pattern)]
        return shlex.join(["dualclip", "predict", *images, *left_out, "--from", str(self.folder)])

    def _write_tables(self, report: Report, finished: str | None = None) -> None:
        layout = self._layout(entry.name for entry in report.entries)
        write_tables(report, layout)
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


def _known(paths: Sequence[Path], journal: Journal) -> list[Entry]:
    return [journal.entries[str(path)] for path in paths if str(path) in journal.entries]
