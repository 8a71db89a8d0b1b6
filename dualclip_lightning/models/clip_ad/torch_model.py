"""Torch module of CLIP-AD (arXiv 2311.00453)."""

from __future__ import annotations

import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.backbone import StagedDualPathEncoder, StagedFeatures
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.models.clip_ad.stage_layers import StageLayers, segmentation_loss
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, feature_surgery, text_score
from dualclip_lightning.scoring.text import ANOMALOUS


class ClipADModel(AnchoredModel):
    """Torch module of CLIP-AD.

    The published map M sums, over S stages, a similarity in [-1, 1] (`feature_surgery`) and, in SDP+, a probability in
    [0, 1]. It is moved and scaled by constants, (M + S) / 2S and for SDP+ (M + S) / 3S, so that it lies in [0, 1] in
    the published order, after it is drawn. The logits of trained layers are enlarged before their softmax, with aligned
    corners as in their training, independent of the drawing.

    Args:
        encoder: module that returns the tokens of every stage.
        temperature: temperature of the softmax that scores the class token and, in SDP+, the patches; above 0.
        drawing: how a map of patches is drawn in pixels.
        normalize_scores: whether both parts of an image score are min-max scaled over the test set before they are
            joined; without a range in `score_ranges` the batch is the test set.
        trained_layers: layers of SDP+; None for SDP.
    """

    def __init__(
        self,
        encoder: StagedDualPathEncoder,
        temperature: float = 0.01,
        drawing: MapDrawing = DRAWINGS["clip_ad"],
        normalize_scores: bool = False,
        trained_layers: StageLayers | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.drawing = drawing
        self.normalize_scores = normalize_scores
        self.trained_layers = trained_layers

    def forward(self, images: Tensor, score_ranges: Tensor | None = None) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W].

        The score is the mean of the class token's probability and the map's maximum. `score_ranges` are the smallest
        and largest value [2, 2] of both over the test set.
        """
        parts, maps = self.score_parts(images)
        if self.normalize_scores:
            low, high = torch.stack(parts.aminmax(dim=1)) if score_ranges is None else score_ranges
            width = (high - low).clamp_min(torch.finfo(parts.dtype).tiny)
            parts = ((parts - low[:, None]) / width[:, None]).clamp(0, 1)
        return InferenceBatch(pred_score=parts.mean(dim=0), anomaly_map=maps)

    def score_parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class-token probability and the maximum of the map [2, B], and the map [B, H, W], in [0, 1]."""
        anchors, features = self.require_anchors(), self.encoder(images)
        size = images.shape[-2], images.shape[-1]
        class_score = text_score(features.stages[-1][:, 0], anchors, self.temperature)
        maps = self._surgery_map(features, size)
        low, high = -len(features.stages), len(features.stages)
        if self.trained_layers is not None:
            logits = self._trained_logits(features, anchors, size, self.drawing.average)
            smoothed = draw(logits.sigmoid().sum(dim=0), size, MapDrawing(sigma=self.drawing.sigma))
            maps, high = maps + smoothed, 2 * high
        maps = ((maps - low) / (high - low)).clamp(0, 1)
        return torch.stack([class_score, maps.flatten(1).amax(dim=1)]), maps

    def loss(self, images: Tensor, masks: Tensor, anchors: Tensor) -> Tensor:
        """Return the loss of the trained layers for images [B, 3, H, W], masks [B, H, W], anchors [B, 2, D]."""
        with torch.no_grad():
            features = self.encoder(images)
        size = images.shape[-2], images.shape[-1]
        return segmentation_loss(self._trained_logits(features, anchors, size), masks)

    def _surgery_map(self, features: StagedFeatures, size: tuple[int, int]) -> Tensor:
        """Return the similarity to the anomalous state at every pixel, summed over stages [B, H, W]."""
        similarity = feature_surgery(features.stages, self.anchors)
        return draw(similarity[:, 1:, ANOMALOUS].unflatten(1, features.grid), size, self.drawing)

    def _trained_logits(
        self, features: StagedFeatures, anchors: Tensor, size: tuple[int, int], average: int = 1
    ) -> Tensor:
        """Return logits of the anomalous state from the trained layers, for every stage and pixel [S, B, H, W]."""
        assert self.trained_layers is not None  # noqa: S101 - asked for only by methods that have them
        logits = self.trained_layers(features.ordinary, features.grid, anchors, self.temperature)
        drawn = draw(logits.flatten(0, 1), size, MapDrawing(average, align_corners=True))
        return drawn.unflatten(0, logits.shape[:2])
