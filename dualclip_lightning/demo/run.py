"""`dualclip demo`: the method on the data and the model that the package carries, offline, in a minute or two.

Text only, reference only and the joint method run through anomalib's Engine on every category of the demo; a table, a
picture of heatmaps, and files with every figure and what produced it are left behind.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from lightning.pytorch import Callback
from rich.console import Console
from rich.table import Table

from dualclip_lightning.data.demo import CATEGORIES, Demo
from dualclip_lightning.demo.figure import Example, draw_examples
from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.models import DualImageCLIP

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "text only": {"alpha": 1.0},
    "reference only": {"alpha": 0.0, "class_weight": 0.0},
    "joint": {},
}
"""What is shown side by side: arguments of `DualImageCLIP` by name."""
SHOWN = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC", "pixel_PRO": "PRO"}


class DemoRun(NamedTuple):
    """One variant on one category with one seed."""

    category: str
    variant: str
    seed: int
    metrics: dict[str, float]
    example: Example


class KeepExample(Callback):
    """Keeps the image with the largest defect, and its map."""

    def __init__(self) -> None:
        self.example: Example | None = None

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: ImageBatch, *_: Any) -> None:
        """Compare the batch with what was kept."""
        del trainer, pl_module
        for path, score_map, mask in zip(outputs.image_path, outputs.anomaly_map, outputs.gt_mask, strict=True):
            area = int(mask.sum())
            if self.example is None or (area, str(path)) > (self.example.area, self.example.path):
                self.example = Example(str(path), area, score_map.cpu().numpy(), mask.cpu().numpy())


def run_variants(categories: Sequence[str], seeds: Sequence[int], folder: Path) -> Iterator[DemoRun]:
    """Run every variant on every category; the text score does not depend on the seed and runs once."""
    for category in categories:
        for variant, arguments in VARIANTS.items():
            for seed in seeds[:1] if variant == "text only" else seeds:
                model = DualImageCLIP(pretrained="demo", seed=seed, visualizer=False, **arguments)
                keep = KeepExample()
                engine = Engine(default_root_dir=folder / "runs", logger=False, callbacks=[keep], accelerator="cpu",
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
                metrics = engine.test(model=model, datamodule=Demo(category=category), verbose=False)[0]
                assert keep.example is not None  # every category has defective images
                yield DemoRun(category, variant, seed, dict(metrics), keep.example)


def summarise(runs: Sequence[DemoRun]) -> pd.DataFrame:
    """Mean over seeds by category and variant, with the mean over categories as the last row."""
    frame = pd.DataFrame([{"category": r.category, "variant": r.variant, **r.metrics} for r in runs])
    table = frame.groupby(["category", "variant"])[list(SHOWN)].mean().unstack("variant").swaplevel(axis=1)
    table = table[[(variant, metric) for variant in VARIANTS for metric in SHOWN]]
    return pd.concat([table, table.mean().to_frame("mean").T])


def show(table: pd.DataFrame, console: Console) -> None:
    """Print the summary with the best variant of each figure in bold."""
    view = Table(title=f"{', '.join(SHOWN.values())} of the demo model on the demo data, in %")
    view.add_column("category")
    for variant in VARIANTS:
        view.add_column(variant, justify="center")
    last = table.index[-2]
    for category, row in table.iterrows():
        best = row.groupby(level=1).transform("max")
        cells = {variant: [] for variant in VARIANTS}
        for (variant, metric), value in row.items():
            bold = ("[bold]", "[/]") if value == best[variant, metric] else ("", "")
            cells[variant].append(f"{bold[0]}{100 * value:.1f}{bold[1]}")
        view.add_row(str(category), *("  ".join(cell) for cell in cells.values()), end_section=category == last)
    console.print(view)


def main(arguments: list[str] | None = None) -> None:
    """Run the demo and print what it found."""
    options = _parser().parse_args(arguments)
    console, start = Console(), time.monotonic()
    runs = []
    with console.status("Scoring the demo data ..."), _quiet():
        for run in run_variants(options.categories, range(options.seeds), options.out):
            runs.append(run)
            console.print(f"{run.category}, {run.variant}, seed {run.seed}: "
                          + ", ".join(f"{name} {100 * run.metrics[key]:.1f}" for key, name in SHOWN.items()))  # fmt: skip
    table = summarise(runs)
    show(table, console)
    _save(runs, table, options.out)
    console.print(f"{len(runs)} runs in {time.monotonic() - start:.0f} s. Heatmaps, scores and provenance: {options.out}")
    console.print("The demo model stands in for CLIP; its figures say nothing about real CLIP weights.")


def _save(runs: Sequence[DemoRun], table: pd.DataFrame, folder: Path) -> None:
    frame = pd.DataFrame(
        [{"category": r.category, "variant": r.variant, "seed": r.seed, **r.metrics} for r in runs]
    )
    write_bytes_atomically(folder / "results.csv", frame.to_csv(index=False).encode())
    write_bytes_atomically(folder / "summary.csv", table.to_csv().encode())
    provenance = DualImageCLIP(pretrained="demo", visualizer=False).provenance()
    write_bytes_atomically(folder / "provenance.json", json.dumps(provenance, indent=2).encode())
    first = {(r.category, r.variant): r.example for r in runs if r.seed == 0}
    write_bytes_atomically(folder / "heatmaps.png", draw_examples(first, list(VARIANTS)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the screen to the table: Lightning and anomalib say much about each of the many runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dualclip demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/demo"), help="folder for tables and pictures")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds draw the pairs")
    parser.add_argument("--categories", nargs="+", default=list(CATEGORIES), choices=CATEGORIES, metavar="NAME",
                        help=f"some of {', '.join(CATEGORIES)}")  # fmt: skip
    return parser
