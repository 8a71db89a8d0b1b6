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

from dualclip_lightning.backbone import intermediate_encoder
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
        layers = self.encoder(images).layers
        if references is None:
            _say_alone()
            maps = layers[0].new_zeros(layers[0].shape[:-1], dtype=torch.float32)
        else:
            maps = paired_scores(layers, references.to(images.device), self.r, self.lowest) / LARGEST_DISTANCE
        return PatchPrediction(self._largest(maps, images.shape[-2:]), maps)

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


class MuSc(ZeroShotShell, AnomalibModule):
    """MuSc: unlabelled test images score each other, without text.

    Patch tokens of several layers, averaged over neighbourhoods, are compared with those of every other image; a patch
    with few similar patches in other images is anomalous (sections 3.2 and 3.3). The image score is the largest value
    of the map, smoothed over similar images (section 3.4). Distances are divided by 2, the largest distance of unit
    vectors, so that scores are in [0, 1].

    By default every score depends on all images of the run, which are read and encoded at the first batch. With
    `num_references`, random test images score an image, as in DualImageCLIP; with 1, this is MuSc-2. The image score is
    then the largest value of its own map, because smoothing over a pair would mix the scores of both images.

    The defaults are those of the released code, except for the weights tag, which is laion400m_e31 in its scripts; maps
    are enlarged with aligned corners (`drawing`). Three things differ. The lowest share of 3 images or fewer is one
    image, not none. Image scores are not scaled to [0, 1] over the set; scaling does not affect AUROC, F1max or AP, but
    would give every set a score of 1. And `subsets` are random, whereas the released code divides each kind of defect
    evenly, which needs labels.

    The method uses no text: class_name is checked and recorded, and the shared arguments words, domain, states and
    templates have no effect. The other row of the paper's table has backbone "ViT-L-14-336", pretrained "openai" and
    image_size 518. The rows of DINOv2 in the authors' repository have backbone "timm:vit_base_patch14_dinov2" or
    "timm:vit_large_patch14_dinov2" and image_size 336 or 518; tokens then pass the last layer norm of the model, as
    there, but class tokens are scaled to length 1 before smoothing, which that code does only for CLIP.

    Example:
        >>> import torch
        >>> from dualclip_lightning import MuSc
        >>> method = MuSc(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        layers: numbers of the blocks whose patch tokens are compared, counted from 1; None for the last block of every
            quarter of the tower, as published.
        r: odd sides, in patches, of the neighbourhoods over which tokens are averaged.
        lowest: share of the other images, those with the lowest scores for a patch, that is averaged; at least one.
        neighbours: numbers of images, including itself, over which the score of an image is smoothed; [1] for none.
            The released code uses 1, 8, 9 for VisA.
        image_score: "map" for the largest value of the map at full size, as released, or "patches" for the largest
            score of a patch, which enlargement with aligned corners usually reduces.
        num_references: number of random test images that score an image; None for all others.
        subsets: number of random parts of the data set. Images score each other within their part, which saves memory
            and time, as time grows with the square of a part.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.TRANSDUCTIVE

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
        self.kind = Kind.TRANSDUCTIVE if num_references is None else Kind.PAIR
        self.levers = (*self.levers, "raise subsets" if num_references is None else "lower num_references")
        encoder = intermediate_encoder(self.backbone.visual, layers)
        self.model = MuScModel(encoder, r, lowest, neighbours, num_references, image_score, self.drawing)
        self.references = (
            WholeSet(self.model, subsets, self.seed)
            if num_references is None
            else Pairs(self.model, num_references, self.seed)
        )

    def _encode_prompts(self, prompts: PromptPair) -> None:
        """Do nothing, because the method uses no text."""


def check_set(num_references: int | None, subsets: int) -> None:
    """Check the numbers of references and subsets.

    Raises:
        ValueError: a number is not an integer or is below 1, or there are both references and several subsets.
    """
    if num_references is not None:
        check_whole("num_references", num_references, 1, "Set None for all other images.")
    check_whole("subsets", subsets, 1)
    if subsets > 1 and num_references is not None:
        msg = f"Expected subsets to be 1 where num_references is set, but got {subsets}."
        raise ValueError(msg)
