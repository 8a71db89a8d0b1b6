"""The metrics for anomalib, updated with its batches by the names of their fields.

`AUROC`, `AP`, `F1Max` and `PRO` are single metrics for anomalib's own `Evaluator`, of images or of pixels depending on
their fields:

    Evaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
                            PRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_")])

`BatchImageMetrics` and `BatchPixelMetrics` compute all of them in one pass, for `ZeroShotEvaluator`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import anomalib.metrics
import torch
from anomalib.metrics import AnomalibMetric
from torch import Tensor

from dualclip_lightning.metrics.image import ImageMetrics
from dualclip_lightning.metrics.inputs import Names, read_images
from dualclip_lightning.metrics.pixel import PixelMetrics

logger = logging.getLogger(__name__)

LABELS = {"auroc": "AUROC", "f1max": "F1Max", "pro": "PRO", "pro_200": "PRO200", "ap": "AP",
          "ap_trapezoid": "APTrapezoid"}  # fmt: skip
"""Names of the metrics in anomalib and in published tables."""


def metric_label(name: str) -> str:
    """Return the label of a metric, which includes the limit of PRO up to a further limit."""
    metric, at, limit = name.partition("@")
    return LABELS[metric] + at + limit


class NamesImages:
    """Mixin before AnomalibMetric that identifies images in errors by their paths."""

    def update(self, batch: Any) -> None:
        """Add the fields of a batch."""
        super().update(batch, names=getattr(batch, "image_path", None))  # type: ignore[misc]


class Grouped(NamesImages):
    """Mixin before AnomalibMetric with the names under which several metrics are logged."""

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(prefix=prefix, **kwargs)  # type: ignore[call-arg]
        self.prefix = prefix

    @property
    def labels(self) -> list[str]:
        """Return the names of the metrics."""
        return [self.prefix + metric_label(name) for name in self._names()]  # type: ignore[attr-defined]

    def labelled(self, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the result of `compute` by metric, with intervals as `<name>_low` and `<name>_high`."""
        named = {}
        for name in (*LABELS, *(name for name in results if "@" in name and not name.endswith("_interval"))):
            label = metric_label(name)
            if name in results:
                named[self.prefix + label] = results[name]
            ends = results.get(f"{name}_interval", ())
            named |= {f"{self.prefix}{label}_{end}": value for end, value in zip(("low", "high"), ends, strict=False)}
        return named


class BatchImageMetrics(Grouped, AnomalibMetric, ImageMetrics):  # type: ignore[misc]
    """`ImageMetrics` for anomalib's batches."""

    default_fields = ("pred_score", "gt_label")


class BatchPixelMetrics(Grouped, AnomalibMetric, PixelMetrics):  # type: ignore[misc]
    """`PixelMetrics` for anomalib's batches."""

    default_fields = ("anomaly_map", "gt_mask")


class SingleMetric(PixelMetrics):
    """One metric, of images or of pixels depending on the shape of its targets; NaN if it is undefined.

    Raises:
        ValueError: `bootstrap` is set, although a single figure cannot have an interval.
    """

    key: str

    def __init__(self, bootstrap: int = 0, **kwargs: Any) -> None:
        if bootstrap:
            raise ValueError(
                f"Expected no `bootstrap` for {type(self).__name__}, whose result is one figure, but got {bootstrap}. "
                "Take the intervals from ImageMetrics or PixelMetrics, or from `default_evaluator`."
            )
        super().__init__(**kwargs)

    def update(self, scores: Tensor, targets: Tensor, names: Names = None) -> None:
        """Add scores and labels [B], or maps and masks [B, H, W]."""
        if targets.squeeze(-1).ndim > 1:
            super().update(scores, targets, names)
        elif self.key == "pro":
            raise ValueError(
                f"Expected maps and masks for PRO, but got targets {list(targets.shape)}. "
                'Set `fields=["anomaly_map", "gt_mask"]`.'
            )
        else:
            self._add_images(*read_images(scores, targets, names))

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the metric [] in double precision."""
        return super().compute()[self.key]


class AUROC(NamesImages, AnomalibMetric, SingleMetric):  # type: ignore[misc]
    """Area under the ROC curve.

    Example:
        >>> import torch
        >>> from anomalib.data import ImageBatch
        >>> from dualclip_lightning.metrics import AUROC
        >>> metric = AUROC(fields=["pred_score", "gt_label"])
        >>> metric.update(ImageBatch(image=torch.zeros(3, 3, 8, 8), pred_score=torch.tensor([0.1, 0.4, 0.3]),
        ...                          gt_label=torch.tensor([False, False, True])))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    key = "auroc"


class AP(NamesImages, AnomalibMetric, SingleMetric):  # type: ignore[misc]
    """Average precision.

    Example:
        >>> import torch
        >>> from anomalib.data import ImageBatch
        >>> from dualclip_lightning.metrics import AP
        >>> metric = AP(fields=["pred_score", "gt_label"])
        >>> metric.update(ImageBatch(image=torch.zeros(3, 3, 8, 8), pred_score=torch.tensor([0.1, 0.4, 0.3]),
        ...                          gt_label=torch.tensor([False, False, True])))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    key = "ap"


class F1Max(NamesImages, AnomalibMetric, SingleMetric):  # type: ignore[misc]
    """The largest F1 of any threshold.

    Example:
        >>> import torch
        >>> from anomalib.data import ImageBatch
        >>> from dualclip_lightning.metrics import F1Max
        >>> metric = F1Max(fields=["pred_score", "gt_label"])
        >>> metric.update(ImageBatch(image=torch.zeros(3, 3, 8, 8), pred_score=torch.tensor([0.1, 0.4, 0.3]),
        ...                          gt_label=torch.tensor([False, False, True])))
        >>> metric.compute()
        tensor(0.6667, dtype=torch.float64)
    """

    key = "f1max"


class PRO(NamesImages, AnomalibMetric, SingleMetric):  # type: ignore[misc]
    """Area under the per-region-overlap curve up to `fpr_limit`, divided by it.

    Example:
        >>> import torch
        >>> from anomalib.data import ImageBatch
        >>> from dualclip_lightning.metrics import PRO
        >>> mask = torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> mask[:, 2:4, 2:4] = True
        >>> metric = PRO(fields=["anomaly_map", "gt_mask"])
        >>> metric.update(ImageBatch(image=torch.zeros(1, 3, 8, 8), anomaly_map=mask.float(), gt_mask=mask))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    key = "pro"


class AUPIMO(anomalib.metrics.AUPIMO):
    """anomalib's AUPIMO, but NaN with a warning if it is undefined, so that other metrics are still computed.

    Example:
        >>> import torch
        >>> from anomalib.data import ImageBatch
        >>> from dualclip_lightning.metrics import AUPIMO
        >>> masks = torch.zeros(2, 64, 64, dtype=torch.bool)
        >>> masks[1, 8:24, 8:24] = True  # the first image is normal, but its pixels are too few
        >>> metric = AUPIMO(fields=["anomaly_map", "gt_mask"])
        >>> metric.update(ImageBatch(image=torch.zeros(2, 3, 64, 64), anomaly_map=masks.float(), gt_mask=masks))
        >>> metric.compute()
        tensor(nan)
    """

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean over anomalous images []."""
        try:
            return torch.as_tensor(super().compute())
        except (RuntimeError, ValueError) as error:  # too few normal pixels, or too few thresholds among them
            logger.warning("%s is n/a: %s", self.name, " ".join(str(error).split()))
            return torch.tensor(torch.nan)
