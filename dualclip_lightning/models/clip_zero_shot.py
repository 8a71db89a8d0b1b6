"""Plain CLIP as the baseline of the field's tables."""

from __future__ import annotations

from typing import Any, get_args

from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor

from dualclip_lightning.backbone import PlainVisionEncoder
from dualclip_lightning.models.base import AnchoredModel, Kind, ZeroShotShell
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, text_score
from dualclip_lightning.utilities.arguments import check_choice, check_temperature


class ClipZeroShotModel(AnchoredModel):
    """Preprocessed images in, CLIP's probability of the anomalous state out.

    Args:
        encoder: gives the class embedding and the ordinary patch embeddings.
        temperature: of the softmax over the two states; above 0.
        drawing: how the map becomes one of pixels.
    """

    def __init__(
        self, encoder: PlainVisionEncoder, temperature: float = 0.01, drawing: MapDrawing = DRAWINGS["winclip"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.drawing = drawing

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores [B] and maps [B, H, W] of images [B, 3, H, W]."""
        anchors, features = self.require_anchors(), self.encoder(images)
        scores = text_score(features.class_embedding, anchors, self.temperature)
        maps = text_score(features.patch_embeddings, anchors, self.temperature)
        drawn = draw(maps, (images.shape[-2], images.shape[-1]), self.drawing)
        return InferenceBatch(pred_score=scores, anomaly_map=drawn)


class ClipZeroShot(ZeroShotShell, AnomalibModule):
    """Plain CLIP (arXiv 2103.00020): the class token gives the image score, the ordinary patch tokens the map.

    The row "CLIP" of the tables of WinCLIP, AnoCLIP and Dual-Image CLIP. Patch tokens of the ordinary Q-K-V path were
    never trained to agree with texts: the map is often upside down, and that is the point of the row.

    Given: the backbone, and the temperature of 1/100 at which CLIP was trained. It changes rankings a little: scores
    near 0 and 1 tie in single precision, and maps are interpolated between probabilities. Given too: `text_mean`, which
    is that of the zero-shot classifiers of CLIP and open_clip. Assumed: the prompts,
    AnoCLIP's, because those tables do not say which words their CLIP had; the same words make the rows comparable; and
    the drawing, WinCLIP's, which is the plain one.

    Example:
        >>> import torch
        >>> from dualclip_lightning import ClipZeroShot
        >>> method = ClipZeroShot(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        temperature: of the softmax over the two states.
        text_mean: an anchor is the mean of a state's text embeddings as they come, "raw", as in the released code of
            AnoCLIP, or of them at length 1, "unit".
        **common: what every method takes (`ZeroShotShell`).
    """

    kind: Kind = "inductive"

    def __init__(
        self,
        *,
        temperature: float = 0.01,
        text_mean: TextMean = "unit",
        **common: Any,
    ) -> None:
        check_temperature(temperature)
        check_choice("text_mean", text_mean, get_args(TextMean))
        super().__init__(**common)
        self.model = ClipZeroShotModel(PlainVisionEncoder(self.backbone.visual), temperature, self.drawing)
