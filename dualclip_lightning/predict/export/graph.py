"""A detector as one function of a batch of images, for files that run without this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dualclip_lightning.backbone import Preprocessing
from dualclip_lightning.backbone.resizing import resize
from dualclip_lightning.predict.export.drawing import draw_at
from dualclip_lightning.predict.export.dual_image import DualImageScores
from dualclip_lightning.predict.export.fixed_size import at_grid
from dualclip_lightning.predict.input.reader import PatchSet, Reference
from dualclip_lightning.predict.input.views import patch_places
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.predict.scoring.method import Method
from dualclip_lightning.predict.scoring.scorer import DualImageScorer


class DecisionGraph(nn.Module):
    """Scores, maps and decisions of a detector that resizes whole images to the model's size.

    Args:
        scores: module from preprocessed images [N, 3, h, w] to scores [N] and maps on some lattice.
        preprocessing: preprocessing of its images.
        drawer: drawer of maps at the size of the images.
        threshold: score above which an image is anomalous; None for no decisions.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, scores: nn.Module, preprocessing: Preprocessing, drawer: Drawer, threshold: float | None
    ) -> None:
        super().__init__()
        self.scores = scores
        self.size, self.interpolation = preprocessing.size, preprocessing.interpolation
        self.drawing = drawer.drawing
        self.threshold = None if threshold is None else below(threshold)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return scores [N], maps [N, H, W] and, with a threshold, decisions [N] of images [N, 3, H, W] in [0, 1]."""
        seen = (resize(image, self.size, self.interpolation) - self.mean) / self.std
        score, maps = self.scores(seen)
        found = score, draw_at(maps, image.shape[-2:], self.drawing, self.size)
        return found if self.threshold is None else (*found, score > self.threshold)


def decision_graph(method: Method, references: Sequence[Reference], threshold: float | None) -> DecisionGraph:
    """Return a method with its references and threshold as a graph on the CPU."""
    return DecisionGraph(_scores(method, references), method.preprocessing, method.drawer, threshold).eval()


def below(threshold: float) -> float:
    """Return the largest number of single precision that is not above a threshold; the same scores lie above it."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-1)) if float(rounded) > threshold else rounded)


def _scores(method: Method, references: Sequence[Reference]) -> nn.Module:
    scorer, plan = method.scorer, method.reader.plan(method.preprocessing.size)
    if not isinstance(scorer, DualImageScorer):
        return MethodScores(at_grid(cast("Any", scorer).model, plan.lattice))
    encoder = at_grid(scorer.encoder, plan.lattice)
    placed = DualImageScorer(encoder, scorer.anchors.cpu(), scorer.scoring, scorer.window, scorer.comparison)
    return DualImageScores(placed, [each for each in references if isinstance(each, PatchSet)], patch_places(plan, 0))


class MethodScores(nn.Module):
    """The scores of any method that scores images by themselves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [N] and maps [N, h, w] of preprocessed images [N, 3, h, w]."""
        found = self.model(images)
        return found.pred_score.float(), found.anomaly_map.float()
