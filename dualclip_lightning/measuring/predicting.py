"""Seconds of `dualclip predict` for a folder: decoding, scoring and drawing by themselves, and the whole run.

    python -m dualclip_lightning.measuring.predicting FOLDER
    python -m dualclip_lightning.measuring.predicting FOLDER --rounds 3 --start-up 5 --anomalib

The model is loaded once and has scored a few images before anything is timed. "score" scores all images, each batch of
which is read while the one before it is scored, and writes only tables; "draw" draws heatmaps and the gallery for
scores that are known; "whole run" does both. The last row of them has the scale and the threshold given, so that images
are drawn while others are scored. Processor seconds are those of all threads; unlike seconds, they hardly depend on
other work of the machine. `--start-up` compares a run over one image, from the start of Python to its end, with the
import of PyTorch and open_clip. `--anomalib` adds a prediction through anomalib's Engine with the same model, which
writes a picture of each image, too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from torch.utils.data import DataLoader

from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.measuring.timing import summarise, take, take_process
from dualclip_lightning.models import DualImageCLIP
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.input.ahead import READERS
from dualclip_lightning.predict.limits import GALLERY
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.pictures.drawing import Drawing
from dualclip_lightning.predict.run import Chooser, Run
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, from_run
from dualclip_lightning.predict.scoring.thresholds import Threshold

WARM_UP = 4
SCORE = "score"
"""The row that the others are divided by."""
IMPORT = "import torch, open_clip"


@dataclass
class Workplace:
    """Runs of one detector over the same images, each into a new folder below `home`."""

    detector: Detector
    paths: Sequence[Path]
    home: Path
    _numbers: count[int] = field(default_factory=count)
    _scored: Path | None = None
    """Folder of the latest run that only scored."""

    def run(self, drawing: Drawing | None, threshold: Threshold | Chooser | None, former: Path | None = None) -> Path:
        """Run and return the folder; without a drawing only tables are written."""
        folder = self.home / str(next(self._numbers))
        wanted, gallery = (Drawing(heatmaps=False), 0) if drawing is None else (drawing, GALLERY)
        Run(self.detector, folder, wanted, gallery, former=former)(self.paths, threshold)
        return folder

    def decode(self) -> None:
        """Read all images as a run does, and drop them."""
        with ThreadPoolExecutor(READERS) as pool:
            for _ in pool.map(_read_and_drop, self.paths):
                pass

    def score(self) -> None:
        """Score all images."""
        self._scored = self.run(None, None)

    def draw(self) -> None:
        """Draw all images, whose scores are taken from the latest `score`."""
        self.run(Drawing(), self.own_threshold, self._scored)

    def own_threshold(self, entries: Sequence[Entry]) -> Threshold | None:
        """Return the threshold that a run takes from its own images, if there are enough."""
        try:
            return from_run(entries, settings=self.detector.settings)
        except NoThresholdError:
            return None

    def steps(self) -> Mapping[str, Callable[[], object]]:
        """Return the steps of a run in their order, and whole runs."""
        given = Drawing(scale=(0.0, 1.0))
        return {
            "decode": self.decode,
            SCORE: self.score,
            "draw": self.draw,
            "whole run": partial(self.run, Drawing(), self.own_threshold),
            "whole run, scale given": partial(self.run, given, Threshold(0.5)),
        }


def _read_and_drop(path: Path) -> None:
    read_picture(path)


def through_anomalib(
    folder: Path, paths: Sequence[Path], home: Path, class_name: str, weights: Mapping[str, Any], batch: int
) -> Callable[[], object]:
    """Return a prediction of a folder through anomalib's Engine, after one of a few images that loads the model."""
    model = DualImageCLIP(class_name=class_name, **weights)
    engine = Engine(
        default_root_dir=home, logger=False, enable_progress_bar=False, enable_model_summary=False, devices=1
    )

    def predict(images: Path) -> None:
        dataset = PredictDataset(images)
        loader = DataLoader(dataset, batch, collate_fn=dataset.collate_fn)
        engine.predict(model, dataloaders=loader, return_predictions=False)

    few = home / "few"
    few.mkdir(parents=True)
    for path in paths[:WARM_UP]:
        shutil.copy(path, few)
    predict(few)
    return partial(predict, folder)


def start_up(image: Path, arguments: Sequence[str], home: Path, rounds: int) -> pd.DataFrame:
    """Return the seconds of a run over one image, and of the import of what it needs most."""
    ours = [sys.executable, "-m", "dualclip_lightning", "predict", str(image), "--compare-with", "none", "--fresh",
            "--no-heatmaps", "--gallery", "0", "--out", str(home / "start"), *arguments]  # fmt: skip
    commands = {IMPORT: [sys.executable, "-c", IMPORT], "predict, one image": ours}
    found = [{name: take_process(command) for name, command in commands.items()} for _ in range(rounds)]
    return summarise(found, IMPORT)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--class-name", default="object")
    parser.add_argument("--backbone", default="ViT-B-16-plus-240")
    parser.add_argument("--pretrained", default="demo")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=1, help="of which the table has the medians")
    parser.add_argument("--start-up", type=int, default=0, metavar="N", help="also start the command N times")
    parser.add_argument("--anomalib", action="store_true", help="also predict through anomalib's Engine")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = _options(arguments)
    weights = {"backbone": options.backbone, "pretrained": options.pretrained}
    paths = find_images([options.folder]).paths
    with tempfile.TemporaryDirectory() as temporary, quiet():
        home = Path(temporary)
        detector = Detector(options.class_name, batch_size=options.batch, device=options.device, **weights)
        Workplace(detector, paths[:WARM_UP], home / "warm-up").run(Drawing(), None)
        steps = dict(Workplace(detector, paths, home / "runs").steps())
        if options.anomalib:
            steps["anomalib's predict"] = through_anomalib(
                options.folder, paths, home / "anomalib", options.class_name, weights, options.batch
            )
        rounds = [{name: take(step) for name, step in steps.items()} for _ in range(options.rounds)]
        print(f"{len(paths)} images, {detector.device}, batch {options.batch}, {torch.get_num_threads()} threads")
        print(summarise(rounds, SCORE, len(paths)).round(2).to_string())
        if options.start_up:
            given = [word for name, value in weights.items() for word in (f"--{name}", value)]
            print(start_up(paths[0], given, home, options.start_up).round(2).to_string())


if __name__ == "__main__":
    show_what_it_can()
    main()
