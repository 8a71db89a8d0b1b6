"""Dual-Image Enhanced CLIP for zero-shot anomaly detection (arXiv 2405.04782)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor

from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.models.base import AnchoredModel, Kind, ZeroShotShell
from dualclip_lightning.models.references import Bank, Pairs, folder_images
from dualclip_lightning.pairing import PatchPrediction, neighbour_references
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, reference_score
from dualclip_lightning.scoring.dual_image import DualImageScoring
from dualclip_lightning.utilities.arguments import check_path, check_whole

BANK_BATCH = 8
"""Number of reference images that are encoded at once."""

logger = logging.getLogger(__name__)


class DualImageCLIPModel(AnchoredModel):
    """Torch module of Dual-Image CLIP; scores and maps are in [0, 1].

    Args:
        encoder: module that returns class and patch embeddings of a batch.
        num_references: K, the number of references of an image if they come from its batch.
        temperature: temperature of the softmax over the two states; above 0.
        alpha: weight of the text map in the joint map, in [0, 1] (eq. 6).
        class_weight: weight of the class-token score in the image score, in [0, 1] (eq. 13).
        adaptation: test-time adaptation, or None for the method without it.
        drawing: how a map of patches is drawn in pixels; the image score does not depend on it.

    Raises:
        ValueError: a number is out of range.
    """

    reference_bank: Tensor

    def __init__(
        self,
        encoder: DualPathVisionEncoder,
        num_references: int = 1,
        temperature: float = 0.07,
        alpha: float = 0.5,
        class_weight: float = 0.5,
        adaptation: TestTimeAdaptation | None = None,
        drawing: MapDrawing = DRAWINGS["anoclip"],
    ) -> None:
        super().__init__()
        check_num_references(num_references)
        self.encoder = encoder
        self.num_references = num_references
        self.scoring = DualImageScoring(temperature, alpha, class_weight, adaptation)
        self.drawing = drawing
        self.register_buffer("reference_bank", torch.empty(0), persistent=False)
        self.reference_names: list[str] = []
        self._said_text_only = False

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Score images [B, 3, H, W] with the reference bank, or with each other as references; maps are [B, H, W].

        Pairs (or groups of K + 1) are neighbours in the batch; in a Lightning run, pairs are drawn over the whole test
        set instead. `names` are the paths of the images, as in `predict_patches`.
        """
        references = None
        if self.scoring.alpha < 1 and len(images) > 1 and not self.reference_bank.numel():
            references = neighbour_references(len(images), self.num_references).to(images.device)
        return self.draw(self.predict_patches(images, references, names), images.shape[-2:])

    def predict_patches(
        self, images: Tensor, references: Tensor | None = None, names: Sequence[str] = ()
    ) -> PatchPrediction:
        """Return scores [B] and patch maps [B, h, w], computed in single precision after the towers.

        Args:
            images: [B, 3, H, W], preprocessed.
            references: [B, K] rows of `images` that are the references of each image; None for the reference bank, or
                for text scores only if there is no bank.
            names: the path of each image. They prevent an image in the bank from being its own reference, and give the
                seeds of adaptation, which otherwise depend on the pixels.
        """
        anchors, features, scoring = self.require_anchors(), self.encoder(images), self.scoring
        patches = features.patch_embeddings
        joint = self._joint_map(patches, references, names)
        maps = scoring.final_map(joint, patches, images, names, anchors, self._patches)
        return PatchPrediction(scoring.image_scores(scoring.text(features.class_embedding, anchors), maps), maps)

    def set_references(self, images: Tensor, names: Sequence[str]) -> None:
        """Encode images [R, 3, H, W] as the references of every image with another name."""
        patches = torch.cat([self._patches(part) for part in images.split(BANK_BATCH)])
        self.reference_bank, self.reference_names = patches, [os.path.realpath(name) for name in names]

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """Convert a prediction to a batch with maps at full size (H, W)."""
        maps = draw(prediction.maps, (size[0], size[1]), self.drawing)
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=maps)

    def _patches(self, images: Tensor) -> Tensor:
        return self.encoder(images).patch_embeddings

    def _joint_map(self, patches: Tensor, references: Tensor | None, names: Sequence[str]) -> Tensor:
        """Return the joint map A_J of images with references, and the text map of others."""
        text = self.scoring.text(patches, self.anchors)
        if self.scoring.alpha == 1:
            return text
        if references is not None:
            return self.scoring.joint_map(text, reference_score(patches, patches[references]))
        rows = self._bank_rows(len(patches), names)
        visual = [self._bank_score(*each) for each in zip(patches, rows, strict=True)]
        return torch.stack([self.scoring.joint_map(*each) for each in zip(text, visual, strict=True)])

    def _bank_score(self, patches: Tensor, rows: Sequence[int]) -> Tensor | None:
        """Return A_V [h, w] of an image [h, w, D] and some rows of the bank; None without rows."""
        if rows:
            return reference_score(patches[None], self.reference_bank[None, rows])[0]
        if not self._said_text_only:
            logger.warning("An image without a partner to compare with gets only its text score.")
            self._said_text_only = True
        return None

    def _bank_rows(self, batch: int, names: Sequence[str]) -> list[list[int]]:
        """Return, for each image, the rows of the reference bank that are not the image itself."""
        own = [os.path.realpath(name) for name in names] or [""] * batch
        return [[i for i, name in enumerate(self.reference_names) if name != mine] for mine in own]


class DualImageCLIP(ZeroShotShell, AnomalibModule):
    """Dual-Image Enhanced CLIP: two unlabelled test images serve as each other's visual reference.

    The method of arXiv 2405.04782. The class token gives a text score for the image, and V-V patch tokens give a text
    map (eq. 1 to 4) and, compared with the patches of another test image, a visual map (eq. 5). The maps are combined
    (eq. 6), and the image score combines the class-token score with the maximum of the map (eq. 13). With `tta`, an
    adapter fitted to the image and a pseudo-anomalous copy of it adds another text map (eq. 7 to 12).

    Given by the paper: the backbone, its preprocessing at 240x240, the prompts, random pairs, one reference. Given by
    the released code of AnoCLIP, whose text branch and architecture the paper uses: `text_mean`, `drawing`, and
    squashing of images. Assumed, because the available text of the paper does not state them: temperature, alpha,
    class_weight, and that the maximum in eq. 13 is taken over patches, so that image scores do not depend on the
    drawing. None may be tuned on test labels.

    Example:
        >>> import torch
        >>> from dualclip_lightning import DualImageCLIP
        >>> method = DualImageCLIP(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        num_references: K, the number of references per image; the paper uses 1 and reports diminishing returns.
        temperature: temperature of the softmax over the two states. Assumed.
        alpha: weight of the text map against the visual map, in [0, 1]; 1 is text only. Assumed.
        class_weight: weight of the class-token score against the maximum of the map, in [0, 1]. Assumed.
        vv_blocks: numbers of the blocks in the V-V path, counted from 1; None for all, as published.
        reference_dir: folder of images that are the references of every image, instead of pairs. Scores are averaged
            over all of them, and num_references is ignored.
        tta: test-time adaptation on pseudo anomalies; True for the paper's settings, or a mapping with some arguments
            of `dualclip_lightning.adaptation.AdaptationSettings`, such as {"steps": 4, "textures": "path/to/dtd"}.
        text_mean: how the text embeddings of a state are averaged to an anchor: "raw" without normalisation, as in the
            released code of AnoCLIP, or "unit" with embeddings of length 1.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.PAIR
    levers = ("lower image_size", "lower num_references", "set tta to false")

    def __init__(
        self,
        *,
        num_references: int = 1,
        temperature: float = 0.07,
        alpha: float = 0.5,
        class_weight: float = 0.5,
        vv_blocks: list[int] | None = None,
        reference_dir: str | Path | None = None,
        tta: bool | dict[str, Any] = False,
        text_mean: TextMean = "raw",
        drawing: str | dict[str, Any] = "anoclip",
        **common: Any,
    ) -> None:
        check_num_references(num_references)
        DualImageScoring(temperature, alpha, class_weight)  # refuses numbers out of range before weights are loaded
        check_path("reference_dir", reference_dir)
        check_text_side(temperature, text_mean, vv_blocks)
        settings = AdaptationSettings.from_choice(tta)
        super().__init__(drawing=drawing, **common)
        self.kind = Kind.INDUCTIVE if alpha == 1 else Kind.PAIR
        pixels = self.backbone.preprocessing
        self.model: DualImageCLIPModel = DualImageCLIPModel(
            DualPathVisionEncoder(self.backbone.visual, vv_blocks), num_references, temperature, alpha, class_weight,
            None if settings is None else TestTimeAdaptation(settings, pixels.mean, pixels.std, self.seed),
            self.drawing,
        )  # fmt: skip
        self.references = (
            Pairs(self.model, num_references, self.seed)
            if reference_dir is None
            else Bank(self.model, partial(folder_images, reference_dir))
        )

    def provenance(self) -> dict[str, Any]:
        """Return the provenance of every method, with a digest of textures other than the packaged ones."""
        adaptation = self.model.scoring.adaptation
        if adaptation is None or adaptation.settings.textures is None:
            return super().provenance()
        return super().provenance() | {"textures_sha256": adaptation.source.digest()}

    def _unexportable(self) -> str | None:
        if self.model.scoring.adaptation is not None:
            return "adaptation takes gradients at test time; set tta to false"
        reason = super()._unexportable()
        return reason and f"{reason}; set alpha to 1 for only its text score"


def check_num_references(num_references: int) -> None:
    """Check the number of references.

    Raises:
        ValueError: K is not an integer or is below 1.
    """
    check_whole("num_references", num_references, 1, "Set alpha=1 for text only.")
