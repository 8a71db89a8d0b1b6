"""One run of the method on one category of the demo data, through anomalib's Engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from anomalib.engine import Engine
from lightning.pytorch import Callback

from dualclip_lightning.data.demo import Demo
from dualclip_lightning.demo.figure import Example
from dualclip_lightning.models import DualImageCLIP


class DemoRun(NamedTuple):
    """What one run found."""

    kind: str
    """What its scores may depend on."""
    category: str
    variant: str
    seed: int
    metrics: dict[str, float]
    examples: dict[str, Example]
    """Every image with a defect, by path."""
    provenance: dict[str, Any]
    """What produced it."""


def run_once(category: str, variant: str, seed: int, arguments: Mapping[str, Any], folder: Path) -> DemoRun:
    """Test `DualImageCLIP` with the demo model and the given arguments; anomalib's own files go below `folder`."""
    model = DualImageCLIP(pretrained="demo", seed=seed, visualizer=False, **arguments)
    keep = KeepExamples()
    engine = Engine(
        default_root_dir=folder,
        logger=False,
        callbacks=[keep],
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    metrics = engine.test(model=model, datamodule=Demo(category=category), verbose=False)[0]
    return DemoRun(model.kind, category, variant, seed, dict(metrics), keep.examples, model.provenance())


class KeepExamples(Callback):
    """Keeps the images with a defect, and their maps."""

    def __init__(self) -> None:
        self.examples: dict[str, Example] = {}

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *rest: Any) -> None:
        """Add those of a batch."""
        del trainer, pl_module, rest
        for path, score_map, mask in zip(outputs.image_path, outputs.anomaly_map, outputs.gt_mask, strict=True):
            if mask.any():
                self.examples[str(path)] = Example(str(path), score_map.cpu().numpy(), mask.bool().cpu().numpy())
