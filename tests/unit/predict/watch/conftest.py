from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict import Prediction, Threshold
from dualclip_lightning.predict.watch.arrivals import Arrivals
from dualclip_lightning.predict.watch.heatmaps import StationHeatmaps
from dualclip_lightning.predict.watch.journal import WatchJournal
from dualclip_lightning.predict.watch.station import Station, is_in_subfolders, watch


class BrightnessDetector:
    """A detector whose score is the mean brightness of an image, in place of a model."""

    mode, max_megapixels = "none", 89.0

    def __init__(self, threshold: Threshold | None, after_reading: Callable[[], object]) -> None:
        self.threshold, self.after_reading = threshold, after_reading

    def score(self, sources) -> Iterator:
        for position, source in enumerate(sources):
            try:
                pixels = source.load().pixels
            except ImageError as error:
                yield position, Failure(source.name, str(error))
                continue
            self.after_reading()
            score = float(np.mean(pixels)) / 255
            patch_map = np.full((2, 2), score, np.float32)
            yield position, Prediction(source.name, score, patch_map, pixels.shape[:2], threshold=self.threshold)


def nothing() -> None:
    """Do nothing between two polls."""


@dataclass
class Script:
    """A stop that is asked for after a number of waits, before each of which something happens."""

    events: list[Callable[[], object]]
    asked: bool = False

    def wait(self, seconds: float) -> None:
        assert seconds == 1
        if self.events:
            self.events.pop(0)()
        else:
            self.asked = True


@dataclass
class Line:
    """A watched folder, the results, and what was said."""

    folder: Path
    out: Path
    threshold: Threshold | None = field(default_factory=lambda: Threshold(0.5))
    told: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    after_reading: Callable[[], object] = nothing

    def write(self, name: str, level: int = 10) -> Path:
        """Write an image of one brightness."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (level,) * 3).save(path)
        return path

    def run(
        self, *events: Callable[[], object], script: Script | None = None, move: bool = False, patience: int = 3,
        heatmaps: StationHeatmaps | None = None,
    ) -> Station:  # fmt: skip
        """Watch the folder from a new start: what is there (`--once`), or with events between polls, then stop."""
        with WatchJournal(self.out, {"seed": 0}) as journal:
            arrivals = Arrivals(self.folder, journal.known, lambda path: is_in_subfolders(path, self.folder))
            station = Station(BrightnessDetector(self.threshold, self.after_reading), journal, arrivals, move, patience,
                              self.told.append, self.warned.append, heatmaps)  # fmt: skip
            script = script or Script(list(events) or [nothing] * 100)
            station.recall()
            watch(station, script, 1, once=not events)
        return station

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of `scores.csv`."""
        return self.table("scores.csv")

    def table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a table; none if there is no such file."""
        if not (self.out / name).exists():
            return []
        with (self.out / name).open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))

    @property
    def facts(self) -> list[dict]:
        """The lines of `predictions.jsonl`."""
        return [json.loads(line) for line in (self.out / "predictions.jsonl").read_text().splitlines()]

    @property
    def files(self) -> dict[str, int]:
        """The brightness of each file in the watched folder by its path."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): Image.open(path).getpixel((0, 0))[0] for path in found}


@pytest.fixture
def line(tmp_path) -> Line:
    (tmp_path / "in").mkdir()
    return Line(tmp_path / "in", tmp_path / "out")
