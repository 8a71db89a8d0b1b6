"""Torch module of MuSc (arXiv 2401.16753)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from dualclip_lightning.pairing import FeatureStore, ImageSet, PatchPrediction, neighbour_references
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, mutual_scores, paired_scores, rscin

logger = logging.getLogger(__name__)

ImageScore = Literal["map", "patches"]
DRAWN_AT_ONCE = 16
"""Number of maps that are drawn at once to find their largest values."""
LARGEST_DISTANCE = 2
"""Largest distance of two unit vectors; distances are divided by it to give scores in [0, 1]."""


class MuScModel(nn.Module):
    """Torch module of MuSc; scores and maps are in [0, 1], and the images of a call are the set.

    Args:
        encoder: module that returns the class embedding and the patch tokens of several layers.
        r: odd sides of the neighbourhoods over which tokens are averaged.
        lowest: share of the other images that score a patch, at least one image.
        neighbours: numbers of images over which image scores are smoothed.
        num_references: K, the number of images that score an image; None for all.
        image_score: "map" or "patches", whose largest value is the score of an image.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self,
        encoder: nn.Module,
        r: Sequence[int] = (1, 3, 5),
        lowest: float = 0.3,
        neighbours: Sequence[int] = (1, 2, 3),
        num_references: int | None = None,
        image_score: ImageScore = "map",
        drawing: MapDrawing = DRAWINGS["musc"],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.r = tuple(r)
        self.lowest = lowest
        self.neighbours = tuple(neighbours)
        self.num_references = num_references
        self.image_score = image_score
        self.drawing = drawing

    def forward(self, images: Tensor) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W] that score each other, all of them or in groups.

        Groups of K + 1 are neighbours in the batch. In a Lightning run, the set is the data set.
        """
        if self.num_references is None:
            prediction = self.predict_sets([ImageSet(len(images), [images])])
        else:
            references = neighbour_references(len(images), self.num_references) if len(images) > 1 else None
            prediction = self.predict_patches(images, references)
        return self.draw(prediction, images.shape[-2:])

    def predict_sets(self, sets: Sequence[ImageSet]) -> PatchPrediction:
        """Return scores and patch maps of images scored within their set; image scores are smoothed over all sets."""
        maps, classes, largest = zip(*(self._score_set(images) for images in sets), strict=True)
        return PatchPrediction(rscin(torch.cat(largest), torch.cat(classes), self.neighbours), torch.cat(maps))

    def predict_patches(
        self, images: Tensor, references: Tensor | None = None, names: Sequence[str] = ()
    ) -> PatchPrediction:
        """Return scores [n] and patch maps [n, h, w] of the first n images, each scored by its references.

        Args:
            images: [B, 3, H, W], preprocessed.
            references: [n, K] rows of `images`, n at most B; None if there is no other image, for n = B.
            names: not used.
        """
        del names
        return self.compare(self.encoder(images).layers, references, images.shape[-2:])

    def compare(self, layers: Sequence[Tensor], references: Tensor | None, size: Sequence[int]) -> PatchPrediction:
        """Return scores [n] and patch maps [n, h, w] of the first n images, each scored by its references.

        Args:
            layers: patch tokens of the images, each [B, h, w, C].
            references: [n, K] rows of the layers, n at most B; None if there is no other image, for n = B.
            size: height and width of the images.
        """
        if references is None:
            _say_alone()
            maps = layers[0].new_zeros(layers[0].shape[:-1], dtype=torch.float32)
        else:
            maps = paired_scores(layers, references.to(layers[0].device), self.r, self.lowest) / LARGEST_DISTANCE
        return PatchPrediction(self._largest(maps, size), maps)

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """Convert a prediction to a batch with maps at full size (H, W)."""
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=self._drawn(prediction.maps, size))

    def _drawn(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        return draw(maps, (size[0], size[1]), self.drawing)

    def _largest(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Return the image scores before smoothing [N], the largest value of each map [N, h, w], drawn or not."""
        if self.image_score == "patches":
            return maps.flatten(1).amax(dim=1)
        drawn = (self._drawn(part, size) for part in maps.split(DRAWN_AT_ONCE))
        return torch.cat([part.flatten(1).amax(dim=1) for part in drawn])

    def _score_set(self, images: ImageSet) -> tuple[Tensor, Tensor, Tensor]:
        """Return patch maps [N, h, w], normalised class embeddings [N, D] and largest scores [N] of a set."""
        if images.size == 1:
            _say_alone()
        classes: list[Tensor] = []
        with closing(FeatureStore(images.size)) as store:
            for batch in images.batches:
                features, size = self.encoder(batch), batch.shape[-2:]
                store.append(features.layers)
                classes.append(F.normalize(features.class_embedding.float(), dim=-1))
            maps = mutual_scores(store.tensors, self.r, self.lowest, classes[0].device) / LARGEST_DISTANCE
        return maps, torch.cat(classes), self._largest(maps, size)


def _say_alone() -> None:
    logger.warning("An image without a partner to compare with gets a score and a map of 0.")
