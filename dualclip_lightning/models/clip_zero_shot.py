"""Plain CLIP, the baseline of published tables."""

from __future__ import annotations

from typing import Any

from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor

from dualclip_lightning.backbone import PlainVisionEncoder
from dualclip_lightning.models.base import AnchoredModel, Kind, ZeroShotShell
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, text_score


class ClipZeroShotModel(AnchoredModel):
    """Torch module of plain CLIP; scores are probabilities of the anomalous state.

    Args:
        encoder: module that returns the class embedding and the ordinary patch embeddings.
        temperature: temperature of the softmax over the two states; above 0.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self, encoder: PlainVisionEncoder, temperature: float = 0.01, drawing: MapDrawing = DRAWINGS["winclip"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.drawing = drawing

    def forward(self, images: Tensor) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of preprocessed images [B, 3, H, W]."""
        anchors, features = self.require_anchors(), self.encoder(images)
        scores = text_score(features.class_embedding, anchors, self.temperature)
        maps = text_score(features.patch_embeddings, anchors, self.temperature)
        drawn = draw(maps, (images.shape[-2], images.shape[-1]), self.drawing)
        return InferenceBatch(pred_score=scores, anomaly_map=drawn)


class ClipZeroShot(ZeroShotShell, AnomalibModule):
    """Plain CLIP (arXiv 2103.00020): the class token gives the image score, the ordinary patch tokens the map.

    This is the row "CLIP" of the tables of WinCLIP, AnoCLIP and Dual-Image CLIP. Patch tokens of the ordinary Q-K-V
    path were not trained to match texts, so the map is often inverted, which this row is meant to show.

    Given: the backbone; the temperature of 1/100 at which CLIP was trained, which affects rankings slightly because
    scores near 0 and 1 tie in single precision and maps are interpolated between probabilities; and `text_mean`, as in
    the zero-shot classifiers of CLIP and open_clip. Assumed: the prompts of AnoCLIP, because those tables do not state
    the words of their CLIP and equal words make the rows comparable; and the drawing of WinCLIP, which is the simplest.

    Example:
        >>> import torch
        >>> from dualclip_lightning import ClipZeroShot
        >>> method = ClipZeroShot(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        temperature: temperature of the softmax over the two states.
        text_mean: how the text embeddings of a state are averaged to an anchor: "raw" without normalisation, as in the
            released code of AnoCLIP, or "unit" with embeddings of length 1.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.INDUCTIVE

    def __init__(
        self,
        *,
        temperature: float = 0.01,
        text_mean: TextMean = "unit",
        **common: Any,
    ) -> None:
        check_text_side(temperature, text_mean)
        super().__init__(**common)
        self.model = ClipZeroShotModel(PlainVisionEncoder(self.backbone.visual), temperature, self.drawing)
