"""An evaluator for anomalib that knows which metrics are defined for a test set."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import torch
from anomalib.metrics import AnomalibMetric, Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DistributedSampler
from torchmetrics import Metric

from dualclip_lightning.images.masks import MaskRule, check_rule
from dualclip_lightning.metrics.base import CurveMetrics
from dualclip_lightning.metrics.pixel import PixelMetrics
from dualclip_lightning.metrics.wrappers import Grouped

logger = logging.getLogger(__name__)


class ClassCounts(Metric):
    """Numbers of normal and anomalous entries of a target, over all processes."""

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, target: Tensor) -> None:
        """Count the entries of a target of zeros and ones, of any shape."""
        anomalous = int((target > 0).sum())
        self.counts += torch.tensor([target.numel() - anomalous, anomalous], device=self.counts.device)

    def compute(self) -> Tensor:
        """Return the counts of normal and anomalous entries [2]."""
        return self.counts


class ZeroShotEvaluator(Evaluator):
    """An evaluator that omits metrics that are undefined for the test set, with a log message.

    Without masks there are no pixel metrics. With images of only one kind, AUROC, F1max, AP and PRO are undefined,
    although torchmetrics would return a number. All other metrics are reported. A map with NaN, or with another size
    than its mask, stops the run at its batch. Images that a DistributedSampler repeats to fill up processes count once.

    Args:
        masks: rule by which methods of this package resize masks (`dualclip_lightning.images.masks`).
        kwargs: arguments of anomalib's Evaluator.

    Example:
        >>> from dualclip_lightning.metrics import AUROC, ZeroShotEvaluator
        >>> evaluator = ZeroShotEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
        >>> [metric.name for metric in evaluator.test_metrics]
        ['image_AUROC']
    """

    def __init__(self, masks: MaskRule = "nearest", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.masks = check_rule(masks)
        targets = {metric.fields[-1] for metric in self._metrics()}
        self.class_counts = torch.nn.ModuleDict({target: ClassCounts() for target in sorted(targets)})
        self._forget()

    def _forget(self) -> None:
        self._seen: Counter[int] = Counter()
        self._noted: dict[str, list[str]] = defaultdict(list)

    def _metrics(self) -> Iterator[AnomalibMetric]:
        return (cast("AnomalibMetric", metric) for metric in self.test_metrics)

    def describe(self) -> dict[str, Any]:
        """Return the rule for masks, and the settings of each metric that has any."""
        found: dict[str, Any] = {"masks": self.masks, "metrics": []}
        for metric in self._metrics():
            found["metrics"] += metric.labels if isinstance(metric, Grouped) else [metric.name]
            if isinstance(metric, PixelMetrics):
                found |= {"connectivity": metric.connectivity, "pro_limit": metric.fpr_limit}
            if isinstance(metric, CurveMetrics) and metric.bootstrap:
                found |= {"bootstrap": metric.bootstrap, "bootstrap_seed": metric.seed}
        return found

    def _fields(self) -> set[str]:
        """Return the fields of a batch that the metrics read."""
        return {"pred_score", "gt_label", *(field for metric in self._metrics() for field in metric.fields)}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset all metrics; Lightning resets a metric only if it was logged."""
        del trainer, pl_module
        self._forget()
        for metric in (*self.test_metrics, *self.class_counts.values()):
            cast("Metric", metric).reset()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                          batch_idx: int, dataloader_idx: int = 0) -> None:  # fmt: skip
        """Update the metrics, and count normal and anomalous targets."""
        images = _size(batch, self._fields())
        fresh = _fresh(trainer, dataloader_idx, self._seen[dataloader_idx], images)
        self._seen[dataloader_idx] += images
        if fresh < images:
            batch = _first(batch, fresh, self._fields())
        if not fresh:
            return
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        for target, counts in self.class_counts.items():
            found = getattr(batch, target, None)
            cast("ClassCounts", counts).update(torch.empty(0) if found is None else found)
        self._note(batch)

    def _note(self, batch: Any) -> None:
        """Record the images whose targets are missing or contradict each other."""
        paths = getattr(batch, "image_path", None) or ["of unknown path"] * _size(batch, self._fields())
        names = [str(path) for path in paths]
        for target in self.class_counts:
            if getattr(batch, target, None) is None:
                self._noted[target] += names
        labels, masks = getattr(batch, "gt_label", None), getattr(batch, "gt_mask", None)
        if labels is not None and masks is not None and "gt_mask" in self.class_counts:
            empty = (labels.flatten() > 0) & ~(masks > 0).flatten(1).any(1)
            self._noted["empty"] += [name for name, is_empty in zip(names, empty.tolist(), strict=True) if is_empty]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics that are defined."""
        for metric in self._metrics():
            if self._exists(metric):
                self._log(trainer, pl_module, metric)
        if self._noted["empty"]:
            logger.warning("%d image(s) labelled anomalous have an empty mask, the first %s: all their pixels count as "
                           "normal.", len(self._noted["empty"]), self._noted["empty"][0])  # fmt: skip

    def _log(self, trainer: Trainer, pl_module: LightningModule, metric: Any) -> None:
        """Log a metric computed over all processes; Lightning's mean over processes is of equal figures."""
        found = metric.compute()
        if found is None:  # anomalib's metrics skip batches without their fields
            names = metric.labels if isinstance(metric, Grouped) else [metric.name]
            logger.warning("%s is left out: the method gives no %s.", ", ".join(names), metric.fields[0])
            return
        results = metric.labelled(found) if isinstance(metric, Grouped) else {metric.name: found}
        for name, value in results.items():
            plain = torch.as_tensor(value, dtype=torch.float32, device=pl_module.device)
            cast("Any", self).log(name, plain, sync_dist=True)
            if trainer.barebones:
                trainer.callback_metrics[name] = trainer.logged_metrics[name] = plain

    def _exists(self, metric: AnomalibMetric) -> bool:
        target = metric.fields[-1]
        normal, anomalous = cast("ClassCounts", self.class_counts[target]).compute().tolist()
        names = metric.labels if isinstance(metric, Grouped) else [metric.name]
        if normal and anomalous:
            if self._noted[target]:
                logger.warning("%d image(s), the first %s, have no %s and are not in %s.", len(self._noted[target]),
                               self._noted[target][0], target, ", ".join(names))  # fmt: skip
            return True
        found = "none" if not normal + anomalous else "only normal ones" if normal else "only anomalous ones"
        for name in names:
            logger.warning("%s is left out: it needs normal and anomalous entries of %s, and the test set has %s.",
                           name, target, found)  # fmt: skip
        return False


def _fresh(trainer: Trainer | None, loader: int, seen: int, images: int) -> int:
    """Return the number of images of a batch that were not repeated to fill up the process; repeated ones come last."""
    loaders = getattr(trainer, "test_dataloaders", None)
    sampler = getattr(loaders[loader] if isinstance(loaders, list) else loaders, "sampler", None)
    if not isinstance(sampler, DistributedSampler):
        return images
    own = len(range(sampler.rank, len(cast("Any", sampler.dataset)), sampler.num_replicas))
    return max(0, min(images, own - seen))


def _size(batch: Any, fields: set[str]) -> int:
    """Return the number of images in a batch."""
    return next((len(getattr(batch, field)) for field in sorted(fields) if getattr(batch, field, None) is not None), 0)


def _first(batch: Any, count: int, fields: set[str]) -> SimpleNamespace:
    """Return the first images of a batch."""
    values = {field: getattr(batch, field, None) for field in fields | {"image_path"}}
    return SimpleNamespace(**{field: value if value is None else value[:count] for field, value in values.items()})


def describe_evaluator(evaluator: Any) -> dict[str, Any] | None:
    """Return the protocol of an evaluator as plain data; None for an evaluator of another package.

    Example:
        >>> from dualclip_lightning.metrics import default_evaluator, describe_evaluator
        >>> describe_evaluator(default_evaluator(masks="full"))["masks"]
        'full'
    """
    return evaluator.describe() if isinstance(evaluator, ZeroShotEvaluator) else None
