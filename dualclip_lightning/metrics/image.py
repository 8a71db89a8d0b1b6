"""Image metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualclip_lightning.metrics.base import CurveMetrics
from dualclip_lightning.metrics.bootstrap import Intervals, image_intervals
from dualclip_lightning.metrics.inputs import Names, read_images


class ImageMetrics(CurveMetrics):
    """AUROC, AP and F1max of images: `auroc`, `ap`, `f1max`.

    Every score is kept, for they are few; the figures are exact for any finite scores.

    Args:
        bootstrap: How many times to resample the images for confidence intervals; 0 for none.
        seed: Of the resampling.
    """

    def __init__(self, bootstrap: int = 0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(mode="exact", fpr_limit=None, bootstrap=bootstrap, seed=seed, **kwargs)

    def update(self, scores: Tensor, labels: Tensor, names: Names = None) -> None:
        """Take the scores and labels [B] of some images; `names` are what errors call them."""
        values, anomalous = read_images(scores, labels, names)
        self._add_images(values, anomalous)
        if self.bootstrap:
            self.kept.append(torch.from_numpy(np.column_stack([values, anomalous]).astype(np.float64).ravel()))

    def _intervals(self, values: dict[str, float]) -> Intervals:
        images = np.concatenate(self._arrays("kept")).reshape(-1, 2)
        return image_intervals(images, values, self.bootstrap, self.seed)
