"""Runs of anomalib's Engine on the small data set of the tests, and a record of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from lightning.pytorch import Callback


class Record(Callback):
    """Scores and maps by image, named by its folder and file name."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.maps: dict[str, torch.Tensor] = {}

    def on_test_batch_end(self, _trainer, _module, _outputs, batch, *_):
        for path, score, score_map in zip(batch.image_path, batch.pred_score, batch.anomaly_map, strict=True):
            name = "/".join(Path(path).parts[-2:])
            self.scores[name], self.maps[name] = float(score), score_map

    on_predict_batch_end = on_test_batch_end


def metal_nut(root: Path, **arguments: Any) -> MVTecAD:
    """Return the datamodule of the category in the fixture `mvtec_root`, in batches of 4 by default."""
    return MVTecAD(**{"root": root, "category": "metal_nut", "eval_batch_size": 4, "num_workers": 0} | arguments)


def run_engine(folder: Path, method: Any, stage: str = "test", **data: Any) -> Record:
    """Run `test` or `predict`, with the results below a folder."""
    record = Record()
    engine = Engine(
        accelerator="cpu", logger=False, default_root_dir=folder / "results", callbacks=[record],
        enable_progress_bar=False,
    )  # fmt: skip
    getattr(engine, stage)(method, **data)
    return record
