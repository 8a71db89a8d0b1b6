"""Run methods through anomalib's Engine in several processes, each of which saves scores and metrics as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from lightning.pytorch import Callback
from torch import distributed

import dualclip_lightning

RUNS = {"test": ("DualImageCLIP", "test"), "predict": ("DualImageCLIP", "predict"), "whole set": ("MuSc", "test")}


class Record(Callback):
    """Callback that records scores by path in their order, and the number of images that the tower encoded."""

    def __init__(self) -> None:
        self.scores: list[tuple[str, float]] = []
        self.encoded = 0

    def setup(self, trainer, pl_module, stage) -> None:
        """Count the images that go through the tower."""
        del trainer
        if stage in {"test", "predict"}:  # anomalib validates before it predicts
            pl_module.backbone.visual.ln_pre.register_forward_hook(self._count)

    def _count(self, _layer, inputs, _output) -> None:
        self.encoded += len(inputs[0])

    def on_test_batch_end(self, _trainer, _method, _outputs, batch, *_) -> None:
        """Record the scores of a batch."""
        names = ["/".join(Path(path).parts[-2:]) for path in batch.image_path]
        self.scores += zip(names, batch.pred_score.tolist(), strict=True)

    on_predict_batch_end = on_test_batch_end


def run(name: str, processes: int, out: Path, root: Path, weights: Path) -> tuple[int, dict[str, Any]]:
    """Return the rank of this process, and its scores, metrics and number of encoded images in one of the runs."""
    method, stage = RUNS[name]
    model = getattr(dualclip_lightning, method)(pretrained=str(weights), class_name="screw", visualizer=False)
    record = Record()
    engine = Engine(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", logger=False,
        default_root_dir=out / name, callbacks=[record], enable_progress_bar=False,
    )  # fmt: skip
    data = {"datamodule": MVTecAD(root=root, category="metal_nut", eval_batch_size=2, num_workers=0)}
    if stage == "predict":
        data = {"data_path": root / "metal_nut" / "test" / "scratch"}
    found = getattr(engine, stage)(model, **data)
    metrics = dict(found[0]) if stage == "test" else {}
    rank = engine.trainer.global_rank
    return rank, {"scores": record.scores, "metrics": metrics, "encoded": record.encoded}


def work(rank: int, out: str, root: Path, weights: Path) -> None:
    """Run everything as one of two processes that were started by the user, not by Lightning."""
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    # The processes connect through a file, because another test could take a port. Lightning then uses this group.
    distributed.init_process_group("gloo", init_method=f"file://{out}/store", rank=rank, world_size=2)
    for name in RUNS:
        rank_there, found = run(name, 2, Path(out), root, weights)
        assert rank_there == rank
        Path(out, f"{name} {rank}.json").write_text(json.dumps(found), encoding="utf-8")
