"""Plain CLIP as the baseline of the field's tables."""

from __future__ import annotations

from typing import Any, Literal, get_args

from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components.base import AnomalibModule
from anomalib.visualization import Visualizer
from torch import Tensor, nn

from dualclip_lightning.arguments import check_choice, check_temperature
from dualclip_lightning.backbone import PlainVisionEncoder, prepare_backbone
from dualclip_lightning.models.base import (
    RESIZE_MODES,
    AnchoredModel,
    Kind,
    ZeroShotShell,
    check_components,
    check_prompts,
    describe_common,
    method_pre_processor,
)
from dualclip_lightning.prompts import TextMean, Words
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, text_score


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


@describe_common
class ClipZeroShot(ZeroShotShell, AnomalibModule):
    """Plain CLIP (arXiv 2103.00020): the class token gives the image score, the ordinary patch tokens the map.

    The row "CLIP" of the tables of WinCLIP, AnoCLIP and Dual-Image CLIP. Patch tokens of the ordinary Q-K-V path were
    never trained to agree with texts: the map is often upside down, and that is the point of the row.

    Given: the backbone, and the temperature of 1/100 at which CLIP was trained. It changes rankings a little: scores
    near 0 and 1 tie in single precision, and maps are interpolated between probabilities. Given too: `text_mean`, which
    is that of the zero-shot classifiers of CLIP and open_clip. Assumed: the prompts,
    AnoCLIP's, because those tables do not say which words their CLIP had; the same words make the rows comparable; and
    the drawing, WinCLIP's, which is the plain one.

    Args:
        {common}
        {text_mean}
        temperature: of the softmax over the two states.

    Raises:
        {errors}
    """

    kind: Kind = "inductive"

    def __init__(
        self,
        backbone: str = "ViT-B-16-plus-240",
        pretrained: str = "laion400m_e32",
        class_name: str | None = None,
        temperature: float = 0.01,
        seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        resize: Literal["squash", "crop"] = "squash",
        preprocessing: str | dict[str, Any] | None = None,
        words: Words = "plain",
        domain: Literal["object", "texture"] | None = None,
        states: dict[str, list[str]] | None = None,
        templates: list[str] | None = None,
        text_mean: TextMean = "unit",
        drawing: str | dict[str, Any] = "winclip",
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_temperature(temperature)
        check_choice("text_mean", text_mean, get_args(TextMean))
        check_choice("resize", resize, RESIZE_MODES)
        check_components(pre_processor, post_processor, evaluator, visualizer)
        check_prompts(class_name, words, domain, states, templates)
        chosen_drawing = MapDrawing.from_choice(drawing)
        clip, prepared = prepare_backbone(backbone, pretrained, preprocessing, seed, image_size)
        super().__init__(method_pre_processor(pre_processor, prepared, resize), post_processor, evaluator, visualizer)
        self._attach(clip, class_name, seed)
        self.model = ClipZeroShotModel(PlainVisionEncoder(clip.visual), temperature, chosen_drawing)
