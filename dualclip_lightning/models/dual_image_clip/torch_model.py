"""The torch module of Dual-Image CLIP: scores and maps of preprocessed images."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.adaptation import TestTimeAdaptation
from dualclip_lightning.backbone import DualPathFeatures, ReferenceEncoder
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.pairing import PatchPrediction, neighbour_references
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, ReferenceScoring, draw
from dualclip_lightning.scoring.dual_image import DualImageScoring
from dualclip_lightning.scoring.reference.bank import ReferenceBank
from dualclip_lightning.scoring.reference.comparison import PAPER, Descriptors
from dualclip_lightning.utilities.arguments import check_whole

BANK_BATCH = 8
"""Number of reference images that are encoded at once."""

logger = logging.getLogger(__name__)


class DualImageCLIPModel(AnchoredModel):
    """Torch module of Dual-Image CLIP; scores and maps are in [0, 1].

    Args:
        encoder: module that returns class and patch embeddings of a batch, and the layers that `comparison` compares.
        num_references: K, the number of references of an image if they come from its batch.
        temperature: temperature of the softmax over the two states; above 0.
        alpha: weight of the text map in the joint map, in [0, 1] (eq. 6).
        class_weight: weight of the class-token score in the image score, in [0, 1] (eq. 13).
        adaptation: test-time adaptation, or None for the method without it.
        drawing: how a map of patches is drawn in pixels; the image score does not depend on it.
        comparison: how images are compared with their references.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        encoder: ReferenceEncoder,
        num_references: int = 1,
        temperature: float = 0.07,
        alpha: float = 0.5,
        class_weight: float = 0.5,
        adaptation: TestTimeAdaptation | None = None,
        drawing: MapDrawing = DRAWINGS["anoclip"],
        comparison: ReferenceScoring = PAPER,
    ) -> None:
        super().__init__()
        check_num_references(num_references)
        self.encoder = encoder
        self.num_references = num_references
        self.scoring = DualImageScoring(temperature, alpha, class_weight, adaptation)
        self.drawing = drawing
        self.comparison = comparison
        self.bank: ReferenceBank | None = None
        self._said_text_only = False

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Score images [B, 3, H, W] with the reference bank, or with each other as references; maps are [B, H, W].

        Pairs (or groups of K + 1) are neighbours in the batch; in a Lightning run, pairs are drawn over the whole test
        set instead. `names` are the paths of the images, as in `predict_patches`.
        """
        references = None
        if self.scoring.alpha < 1 and len(images) > 1 and self.bank is None:
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
        joint, class_scores = scoring.text(patches, anchors), scoring.text(features.class_embedding, anchors)
        if scoring.alpha < 1 and references is not None:
            visual, class_scores = self._compare_with_rows(images, features, references, class_scores)
            joint = scoring.joint_map(joint, visual)
        elif scoring.alpha < 1:
            joint, class_scores = self._compare_with_bank(features, names, joint, class_scores)
        maps = scoring.final_map(joint, patches, images, names, anchors, self.encoder.patch_embeddings)
        return PatchPrediction(scoring.image_scores(class_scores, maps), maps)

    def set_references(self, images: Tensor, names: Sequence[str]) -> None:
        """Encode images [R, 3, H, W] as the references of every image with another name."""
        classes, descriptors = zip(*(self._describe(part) for part in images.split(BANK_BATCH)), strict=True)
        joined = tuple(torch.cat(parts) for parts in zip(*descriptors, strict=True))
        self.bank = ReferenceBank(self.comparison, names, torch.cat(classes), joined)

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """Convert a prediction to a batch with maps at full size (H, W)."""
        maps = draw(prediction.maps, (size[0], size[1]), self.drawing)
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=maps)

    def _layers(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.encoder(images).layers

    def _describe(self, images: Tensor) -> tuple[Tensor, Descriptors]:
        """Return class embeddings [B, D] and descriptors [B, N, ..., C] of images as references."""
        features = self.encoder(images)
        own = self.comparison.descriptors(features.layers)
        return features.class_embedding, self.comparison.as_reference(images, own, self._layers)

    def _compare_with_rows(
        self, images: Tensor, features: DualPathFeatures, references: Tensor, class_scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return A_V [B, h, w] and class-token scores [B] by references in the batch, given as rows [B, K]."""
        own = self.comparison.descriptors(features.layers)
        described = self.comparison.as_reference(images, own, self._layers)
        fitted = self.comparison.fit_batch(described, references)
        rows = torch.cat([torch.arange(len(images), device=references.device)[:, None], references], dim=1)
        classes = self.comparison.class_scores(class_scores[rows], features.class_embedding[rows])
        return self.comparison.score(own, fitted), classes

    def _compare_with_bank(
        self, features: DualPathFeatures, names: Sequence[str], text: Tensor, class_scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return A_J [B, h, w] and class-token scores [B] by the bank; those of text without a reference."""
        own = self.comparison.descriptors(features.layers)
        found = []
        for place, name in enumerate(names or [""] * len(text)):
            rows = [] if self.bank is None else self.bank.rows(name)
            if self.bank is None or not rows:
                self._say_text_only()
                found.append((text[place], class_scores[place]))
                continue
            visual = self.bank.score(tuple(each[place : place + 1] for each in own), rows)[0]
            embeddings = self.bank.class_embeddings[rows]
            others = self.scoring.text(embeddings, self.anchors)
            classes = self.comparison.class_scores(
                torch.cat([class_scores[place][None], others])[None],
                torch.cat([features.class_embedding[place][None], embeddings])[None],
            )
            found.append((self.scoring.joint_map(text[place], visual), classes[0]))
        maps, scores = zip(*found, strict=True)
        return torch.stack(maps), torch.stack(scores)

    def _say_text_only(self) -> None:
        if not self._said_text_only:
            logger.warning("An image without a partner to compare with gets only its text score.")
            self._said_text_only = True


def check_num_references(num_references: int) -> None:
    """Check the number of references.

    Raises:
        ValueError: K is not an integer or is below 1.
    """
    check_whole("num_references", num_references, 1, "Set alpha=1 for text only.")
