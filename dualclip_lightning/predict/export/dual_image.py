"""Scores of Dual-Image CLIP inside a graph: a batch of images, each with the same references."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dualclip_lightning.predict.input.reader import PatchSet
from dualclip_lightning.predict.scoring.scorer import DualImageScorer
from dualclip_lightning.scoring import within_window


class DualImageScores(nn.Module):
    """The scores of a `DualImageScorer`, with its references and text anchors as constants.

    Args:
        scorer: scorer on the CPU, without adaptation.
        references: the references of every image; none for text scores.
        places: [P, 2], centres of the patches of an image as shares of its height and width.
    """

    anchors: Tensor
    classes: Tensor

    def __init__(self, scorer: DualImageScorer, references: Sequence[PatchSet], places: Tensor) -> None:
        super().__init__()
        self.encoder, self.scoring, self.comparison = scorer.encoder, scorer.scoring, scorer.comparison
        self.register_buffer("anchors", scorer.anchors.clone())
        kinds = zip(*(each.descriptors for each in references), strict=True)
        self.fitted = list(self.comparison.fit([own[None].clone() for own in kind] for kind in kinds))
        window = scorer.window
        self.near = None if window is None else [within_window(places, each.places, window) for each in references]
        # an image of the model's size has one view, and one class embedding
        self.register_buffer("classes", torch.cat([each.class_embeddings for each in references] or [self.anchors[:0]]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [N] and maps of patches [N, h, w] of preprocessed images [N, 3, H, W]."""
        features = self.encoder(images)
        maps = self.scoring.text(features.patch_embeddings, self.anchors)
        scores = self.scoring.text(features.class_embedding, self.anchors)
        if self.fitted:
            own = self.comparison.descriptors(features.layers)
            maps = self.scoring.joint_map(maps, self.comparison.score(own, self.fitted, self.near))
            scores = self._smoothed(scores, features.class_embedding)
        return self.scoring.image_scores(scores, maps), maps

    def _smoothed(self, scores: Tensor, embeddings: Tensor) -> Tensor:
        """Return class-token scores [N], smoothed over the references if the comparison does so."""
        count = embeddings.shape[0]
        others = self.scoring.text(self.classes, self.anchors).expand(count, -1)
        known = self.classes.expand(count, -1, -1)
        return self.comparison.class_scores(
            torch.cat([scores[:, None], others], dim=1),
            F.normalize(torch.cat([embeddings[:, None], known], dim=1), dim=-1),
        )
