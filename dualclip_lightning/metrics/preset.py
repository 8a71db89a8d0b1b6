"""The evaluator that all methods of this package use by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalib.metrics import AnomalibMetric

from dualclip_lightning.images.masks import MaskRule
from dualclip_lightning.metrics.evaluator import ZeroShotEvaluator
from dualclip_lightning.metrics.wrappers import AUPIMO, BatchImageMetrics, BatchPixelMetrics


def default_evaluator(
    bootstrap: int = 0, seed: int = 0, masks: MaskRule = "nearest", pro_limits: Sequence[float] = (),
    pro_200: bool = False, aupimo: bool = False, ap_trapezoid: bool = False,
) -> ZeroShotEvaluator:  # fmt: skip
    """Build the evaluator with image AUROC, F1max, AP and pixel AUROC, F1max, PRO, AP, and further metrics.

    F1max uses the best threshold on the labelled test set, as in published tables: it measures the ranking, and the
    threshold is not available in practice. PRO integrates to a false-positive rate of 0.3.

    Args:
        bootstrap: number of resamplings of the images for intervals `<metric>_low` and `<metric>_high`; 0 for none.
        seed: seed of the resamplings.
        masks: rule by which masks are resized to the size of the maps (`dualclip_lightning.images.masks`): "nearest",
            "bilinear" or "full". Methods of this package apply it.
        pro_limits: further false-positive rates to which PRO integrates, each a metric `pixel_PRO@<limit>`.
        pro_200: add `pixel_PRO200`, as AnoCLIP's, CLIP-AD's and MuSc's released codes compute PRO.
        aupimo: add anomalib's AUPIMO (Bertoldo et al., BMVC 2024), which takes about 40 MB per image.
        ap_trapezoid: add `image_APTrapezoid`, as AnoCLIP's released code computes AP of images.

    Raises:
        ValueError: the rule is unknown, or a limit is not in (0, 1].

    Example:
        >>> from dualclip_lightning.metrics import default_evaluator
        >>> [label for metric in default_evaluator(pro_limits=[0.05]).test_metrics for label in metric.labels]
        [...'image_AUROC', ... 'pixel_PRO@0.05'...]
    """
    options: dict[str, Any] = {"strict": False, "bootstrap": bootstrap, "seed": seed}
    pixel = BatchPixelMetrics(prefix="pixel_", pro_200=pro_200, further_limits=pro_limits, **options)
    image = BatchImageMetrics(prefix="image_", ap_trapezoid=ap_trapezoid, **options)
    metrics: list[AnomalibMetric] = [image, pixel]
    if aupimo:
        metrics.append(AUPIMO(prefix="pixel_", strict=False))
    return ZeroShotEvaluator(masks=masks, test_metrics=metrics)
