"""The metrics every method is judged by, as one anomalib evaluator."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from anomalib.metrics import AUPRO, AUROC, AnomalibMetric, Evaluator, F1Max
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAveragePrecision

logger = logging.getLogger(__name__)

FPR_LIMIT = 0.3
"""False-positive rate up to which PRO integrates, the convention of MVTec AD; the area is divided by it."""


class AP(AnomalibMetric, BinaryAveragePrecision):  # type: ignore[misc]
    """Average precision for anomalib batches."""


class PRO(AUPRO):
    """Area under the per-region-overlap curve, under the name the field's tables use."""


class ClassCounts(Metric):
    """How many normal and anomalous entries a target has had, over all processes."""

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, target: Tensor) -> None:
        """Count the entries of a target of zeros and ones, of any shape."""
        anomalous = int((target > 0).sum())
        self.counts += torch.tensor([target.numel() - anomalous, anomalous], device=self.counts.device)

    def compute(self) -> Tensor:
        """Counts of normal and anomalous entries [2]."""
        return self.counts


class ZeroShotEvaluator(Evaluator):
    """An evaluator that leaves out, and says so, what the test set cannot answer.

    Without masks there are no pixel metrics; with images of one kind alone AUROC, F1max, AP and PRO do not exist, and
    torchmetrics would give a number all the same. The rest of the run is reported as ever.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        targets = {cast("AnomalibMetric", metric).fields[-1] for metric in self.test_metrics}
        self.class_counts = torch.nn.ModuleDict({target: ClassCounts() for target in sorted(targets)})

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier test; Lightning resets a metric only where it was logged."""
        del trainer, pl_module
        for metric in (*self.test_metrics, *self.class_counts.values()):
            cast("Metric", metric).reset()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                          batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip
        """Update the metrics, and count normal and anomalous targets."""
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        for target, counts in self.class_counts.items():
            found = getattr(batch, target, None)
            cast("ClassCounts", counts).update(torch.empty(0) if found is None else found)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics that exist."""
        everything = self.test_metrics
        self.test_metrics = torch.nn.ModuleList(m for m in everything if self._exists(cast("AnomalibMetric", m)))
        try:
            super().on_test_epoch_end(trainer, pl_module)
        finally:
            self.test_metrics = everything

    def _exists(self, metric: AnomalibMetric) -> bool:
        target = metric.fields[-1]
        normal, anomalous = cast("ClassCounts", self.class_counts[target]).compute().tolist()
        if normal and anomalous:
            return True
        found = "none" if not normal + anomalous else "only normal ones" if normal else "only anomalous ones"
        logger.warning("%s is left out: it needs normal and anomalous entries of %s, and the test set has %s.",
                       metric.name, target, found)  # fmt: skip
        return False


def default_evaluator() -> ZeroShotEvaluator:
    """Image AUROC, F1max, AP and pixel AUROC, F1max, PRO, AP.

    F1max takes the best threshold of the labelled test set, as the field's tables do: it is a metric of the ranking,
    not a threshold anyone could use.
    """
    image, pixel = ["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]
    metrics: list[AnomalibMetric] = [kind(fields=image, prefix="image_", strict=False) for kind in (AUROC, F1Max, AP)]
    metrics += [kind(fields=pixel, prefix="pixel_", strict=False) for kind in (AUROC, F1Max)]
    metrics += [PRO(fields=pixel, prefix="pixel_", strict=False, fpr_limit=FPR_LIMIT)]
    metrics += [AP(fields=pixel, prefix="pixel_", strict=False)]
    return ZeroShotEvaluator(test_metrics=metrics)
