"""MuSc and its form for pairs, MuSc-2 (arXiv 2401.16753)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor, nn

from dualclip_lightning.backbone import IntermediateEncoder
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.references import Pairs, WholeSet
from dualclip_lightning.pairing import FeatureStore, ImageSet, PatchPrediction, neighbour_references
from dualclip_lightning.prompts import PromptPair
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, mutual_scores, paired_scores, rscin
from dualclip_lightning.scoring.mutual import check_degrees
from dualclip_lightning.scoring.rscin import check_neighbours
from dualclip_lightning.utilities.arguments import check_blocks, check_choice, check_whole, check_whole_list

logger = logging.getLogger(__name__)

ImageScore = Literal["map", "patches"]
DRAWN_AT_ONCE = 16
"""How many maps are drawn at once for their largest values."""
LARGEST_DISTANCE = 2
"""Of two vectors of length 1: distances divided by it are scores in [0, 1]."""


class MuScModel(nn.Module):
    """Preprocessed images in, scores and maps in [0, 1] out; the images given are the set.

    Args:
        encoder: gives the class embedding and patch tokens of several layers.
        r: odd sides of the neighbourhoods whose tokens are averaged.
        lowest: share of the other images that score a patch, at least one.
        neighbours: numbers of images over which image scores are smoothed.
        num_references: K images that score an image instead of all; None for all.
        image_score: "map" or "patches", of which the largest value scores an image.
        drawing: how the map becomes one of pixels.
    """

    def __init__(
        self,
        encoder: IntermediateEncoder,
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
        """Scores [B] and maps [B, H, W] of images [B, 3, H, W] that score each other, all of them or in their groups.

        Groups of K + 1 are neighbours in the batch. Through Lightning the set is the data set.
        """
        if self.num_references is None:
            prediction = self.predict_sets([ImageSet(len(images), [images])])
        else:
            references = neighbour_references(len(images), self.num_references) if len(images) > 1 else None
            prediction = self.predict_patches(images, references)
        return self.draw(prediction, images.shape[-2:])

    def predict_sets(self, sets: Sequence[ImageSet]) -> PatchPrediction:
        """Scores and patch maps of images scored within their set; image scores are smoothed over all sets."""
        maps, classes, largest = zip(*(self._score_set(images) for images in sets), strict=True)
        return PatchPrediction(rscin(torch.cat(largest), torch.cat(classes), self.neighbours), torch.cat(maps))

    def predict_patches(
        self, images: Tensor, references: Tensor | None = None, names: Sequence[str] = ()
    ) -> PatchPrediction:
        """Image scores [B] and patch maps [B, h, w] of images [B, 3, H, W], each scored by its references.

        Args:
            images: preprocessed.
            references: [B, K] rows of `images`; None where there is no other image.
            names: not used.
        """
        del names
        layers = self.encoder(images).layers
        if references is None:
            _say_alone()
            maps = layers[0].new_zeros(layers[0].shape[:-1], dtype=torch.float32)
        else:
            maps = paired_scores(layers, references.to(images.device), self.r, self.lowest) / LARGEST_DISTANCE
        return PatchPrediction(self._largest(maps, images.shape[-2:]), maps)

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """A prediction with its maps at full size (H, W)."""
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=self._drawn(prediction.maps, size))

    def _drawn(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        return draw(maps, (size[0], size[1]), self.drawing)

    def _largest(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """What scores an image before smoothing [N]: the largest value of its map [N, h, w], drawn or as it is."""
        if self.image_score == "patches":
            return maps.flatten(1).amax(dim=1)
        drawn = (self._drawn(part, size) for part in maps.split(DRAWN_AT_ONCE))
        return torch.cat([part.flatten(1).amax(dim=1) for part in drawn])

    def _score_set(self, images: ImageSet) -> tuple[Tensor, Tensor, Tensor]:
        """Patch maps [N, h, w], class embeddings [N, D], normalised, and largest scores [N] of a set."""
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
    logger.warning("An image without any other to compare with gets a score and a map of 0.")


class MuSc(ZeroShotShell, AnomalibModule):
    """MuSc: the unlabelled test images score each other, without a word.

    Patch tokens of several layers, averaged over neighbourhoods, are compared with those of every other image; a patch
    that few images know is anomalous (sections 3.2 and 3.3). The largest value of an image's map, smoothed over the
    images that look like it, is its score (section 3.4). Distances are divided by 2, which no distance between unit
    vectors exceeds, so that scores lie in [0, 1].

    By default every score depends on all images of the run, which are read and encoded at its first batch. With
    `num_references` it is the form for pairs and groups, at 1 MuSc-2: random test images score an image, as in
    DualImageCLIP, and the largest value of its own map is the image score, because smoothing over a pair would mix the
    scores of the two.

    Given by the released code: everything in the defaults but the weights tag, for which its scripts have
    laion400m_e31; maps are enlarged with aligned corners (`drawing`). Three things differ: the lowest share of 3 images
    or fewer is one image, where it was none; image scores are not scaled to [0, 1] over the set, which changes no order
    and so no AUROC, F1max or AP, but would give every set a score of 1; and `subsets` are random, where the released
    code divides each kind of defect evenly, which takes labels.

    Takes no text: class_name is checked and recorded; words, domain, states and templates, which all methods have,
    change nothing. The table's other row is backbone "ViT-L-14-336", pretrained "openai", image_size 518.

    Example:
        >>> import torch
        >>> from dualclip_lightning import MuSc
        >>> method = MuSc(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        layers: numbers of the blocks, from 1, whose patch tokens are compared; None means the last of every quarter of
            the tower, as published.
        r: odd sides, in patches, of the neighbourhoods over which tokens are averaged.
        lowest: share of the other images whose scores count for a patch, the lowest of them, at least one.
        neighbours: numbers of images, itself included, over which the score of an image is smoothed; [1] for none.
            The released code has 1, 8, 9 for VisA.
        image_score: "map" for the largest value of the map at full size, as released, or "patches" for the largest
            score of a patch, which enlarging with aligned corners hardly ever keeps.
        num_references: how many random test images score an image; None for all others.
        subsets: parts into which the data set is divided at random by the seed, for less time, which grows with the
            square of a part, and less memory; images score each other within their part.
        **common: what every method takes (`ZeroShotShell`).
    """

    kind: Kind = "transductive"

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        r: list[int] | tuple[int, ...] = (1, 3, 5),
        lowest: float = 0.3,
        neighbours: list[int] | tuple[int, ...] = (1, 2, 3),
        image_score: ImageScore = "map",
        num_references: int | None = None,
        subsets: int = 1,
        drawing: str | dict[str, Any] = "musc",
        **common: Any,
    ) -> None:
        check_blocks("layers", layers)
        check_whole_list("r", r, (1, 3, 5))
        check_degrees(r, lowest)
        check_whole_list("neighbours", neighbours, (1, 2, 3))
        check_neighbours(neighbours)
        check_choice("image_score", image_score, get_args(ImageScore))
        check_set(num_references, subsets)
        super().__init__(drawing=drawing, **common)
        self.kind = "transductive" if num_references is None else "pair"
        self.levers = (*self.levers, "raise subsets" if num_references is None else "lower num_references")
        encoder = IntermediateEncoder(self.backbone.visual, layers)
        self.model = MuScModel(encoder, r, lowest, neighbours, num_references, image_score, self.drawing)
        self.references = (
            WholeSet(self.model, subsets, self.seed)
            if num_references is None
            else Pairs(self.model, num_references, self.seed)
        )

    def _encode_prompts(self, prompts: PromptPair) -> None:
        """Nothing: the method takes no text, and its text tower never runs."""


def check_set(num_references: int | None, subsets: int) -> None:
    """Refuse numbers of images and subsets that cannot be meant.

    Raises:
        ValueError: either no whole number or below 1, or both a number of references and more than one subset.
    """
    if num_references is not None:
        check_whole("num_references", num_references, 1, "Set None for all other images.")
    check_whole("subsets", subsets, 1)
    if subsets > 1 and num_references is not None:
        msg = f"Expected subsets to be 1 where num_references is set, but got {subsets}."
        raise ValueError(msg)
