"""Image metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualclip_lightning.metrics.base import CurveMetrics
from dualclip_lightning.metrics.bootstrap import Intervals, image_intervals
from dualclip_lightning.metrics.functional import ap_trapezoid, exact_curve
from dualclip_lightning.metrics.inputs import Names, read_images
from dualclip_lightning.metrics.ranking import Ranking


class ImageMetrics(CurveMetrics):
    """AUROC, AP and F1max of images: `auroc`, `ap`, `f1max`, and optionally `ap_trapezoid`.

    All scores are stored, so the figures are exact for any finite scores.

    Args:
        bootstrap: Number of resamplings of the images for confidence intervals; 0 for none.
        seed: Seed of the resampling.
        ap_trapezoid: Add `ap_trapezoid`, the AP of AnoCLIP's tables, which has no interval.

    Example:
        >>> import torch
        >>> from dualclip_lightning.metrics import ImageMetrics
        >>> metric = ImageMetrics()
        >>> metric.update(torch.tensor([0.1, 0.4, 0.3, 0.8]), torch.tensor([False, False, True, True]))
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'auroc': 0.75, 'ap': 0.833, 'f1max': 0.8}
    """

    def __init__(self, bootstrap: int = 0, seed: int = 0, ap_trapezoid: bool = False, **kwargs: Any) -> None:
        super().__init__(mode="exact", fpr_limit=None, bootstrap=bootstrap, seed=seed, **kwargs)
        self.ap_trapezoid = ap_trapezoid

    def update(self, scores: Tensor, labels: Tensor, names: Names = None) -> None:
        """Add the scores and labels [B] of some images; `names` identify them in errors."""
        values, anomalous = read_images(scores, labels, names)
        self._add_images(values, anomalous)
        if self.bootstrap:
            self.kept.append(torch.from_numpy(np.column_stack([values, anomalous]).astype(np.float64).ravel()))

    def _names(self) -> list[str]:
        return super()._names() + ["ap_trapezoid"] * self.ap_trapezoid

    def _exact(self, ranking: Ranking) -> dict[str, float]:
        values = super()._exact(ranking)
        further = {"ap_trapezoid": float(ap_trapezoid(exact_curve(ranking)))}
        return values | further if self.ap_trapezoid else values

    def _intervals(self, values: dict[str, float]) -> Intervals:
        images = np.concatenate(self._arrays("kept")).reshape(-1, 2)
        return image_intervals(images, values, self.bootstrap, self.seed)
