"""A memory of normal patches, as in AnomalyDINO (arXiv 2405.14529)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor, nn

from dualclip_lightning.backbone import intermediate_encoder
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.memory.features import BANK_BATCH, MeanLayerEncoder, rotations
from dualclip_lightning.models.references import Bank, WholeSet, check_shots, normal_images
from dualclip_lightning.pairing import FeatureStore, ImageSet, PatchPrediction
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw, largest_mean, memory_distances, pooled_distances
from dualclip_lightning.utilities.arguments import check_blocks, check_path, check_share, check_whole

LARGEST = 0.01
"""Share of the patches, those with the largest distances, whose mean is the image score."""
LARGEST_DISTANCE = 2
"""Largest value of one minus a cosine; distances are divided by it to give scores in [0, 1]."""


class PatchMemoryModel(nn.Module):
    """Torch module of a memory of normal patches; scores and maps are in [0, 1].

    Args:
        encoder: module that returns the features [B, h, w, C] of images.
        neighbours: number of nearest patches of the memory whose distances are averaged.
        share: share of the patches of all other images that counts without normal images.
        angles: angles in degrees by which normal images are also rotated.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self,
        encoder: nn.Module,
        neighbours: int = 1,
        share: float = 0.001,
        angles: Sequence[float] = (),
        drawing: MapDrawing = DRAWINGS["anomalydino"],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.neighbours = neighbours
        self.share = share
        self.angles = tuple(angles)
        self.drawing = drawing
        self.memory: list[Tensor] = []
        self.memory_names: list[str] = []

    def set_references(self, images: Tensor, names: Sequence[str] = ()) -> None:
        """Remember the patches of normal images [K, 3, H, W] and of their rotations.

        `names` are their paths, which prevent an image from being compared with itself.
        """
        turned = [torch.cat([*map(self._unit, each.split(BANK_BATCH))]) for each in rotations(images, self.angles)]
        self.memory = [torch.cat(own).flatten(0, -2) for own in zip(*turned, strict=True)]
        self.memory_names = [os.path.realpath(name) for name in names]

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W]; `names` are their paths, if known.

        Without normal images, every image is compared with all others of the call.
        """
        if not self.memory:
            return self.draw(self.predict_sets([ImageSet(len(images), [images])]), images.shape[-2:])
        features = self._unit(images)
        own = [os.path.realpath(name) for name in names] or [""] * len(images)
        maps = torch.stack([self._distances(*each) for each in zip(features, own, strict=True)])
        return self.draw(_prediction(maps), images.shape[-2:])

    def predict_sets(self, sets: Sequence[ImageSet]) -> PatchPrediction:
        """Return scores and patch maps of images, each compared with all others of its set."""
        return _prediction(torch.cat([self._score_set(images) for images in sets]))

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """Convert a prediction to a batch with maps at full size (H, W)."""
        maps = draw(prediction.maps, (size[0], size[1]), self.drawing)
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=maps)

    def _unit(self, images: Tensor) -> Tensor:
        """Return the features [B, h, w, C] of images, of length 1."""
        return F.normalize(self.encoder(images), dim=-1)

    def _distances(self, features: Tensor, name: str) -> Tensor:
        """Return the distances [h, w] of the patches [h, w, C] of an image to the memory of other images, or 0."""
        names = self.memory_names or [""] * len(self.memory)
        others = [patches for patches, other in zip(self.memory, names, strict=True) if not name or other != name]
        if not others:
            return features.new_zeros(features.shape[:-1])
        found = memory_distances(features.flatten(0, 1), torch.cat(others), self.neighbours)
        return found.unflatten(0, features.shape[:-1])

    def _score_set(self, images: ImageSet) -> Tensor:
        """Return the distances [N, h, w] of the images of a set, each to all others; 0 for a single image."""
        with closing(FeatureStore(images.size)) as store:
            for batch in images.batches:
                features = self._unit(batch)
                store.append([features])
            every, device = store.tensors[0], features.device
            if images.size == 1:
                return torch.zeros(every.shape[:-1], device=device)
            patches = every.to(device).flatten(1, 2)
            found = [pooled_distances(own, _others(patches, row), self.share) for row, own in enumerate(patches)]
            return torch.stack(found).unflatten(1, every.shape[1:3])


def _others(patches: Tensor, row: int) -> Tensor:
    """Return the patches [(N - 1) * P, C] of all images [N, P, C] but one."""
    return torch.cat([patches[:row], patches[row + 1 :]]).flatten(0, 1)


def _prediction(distances: Tensor) -> PatchPrediction:
    maps = (distances / LARGEST_DISTANCE).clamp(0, 1)
    return PatchPrediction(largest_mean(maps.flatten(1), LARGEST), maps)


class PatchMemory(ZeroShotShell, AnomalibModule):
    """A memory of normal patches: the distance of every patch to the most similar one, without text.

    With `k_shot` normal images and their rotations, this is the few-shot rule of AnomalyDINO (arXiv 2405.14529, which
    anomalib has as `AnomalyDINO` with its own loader of DINOv2): one minus the cosine to the nearest patch of the
    memory. Without, every image is compared with all other images of the test set (its batched zero-shot setting), and
    every score depends on all of them. Distances are divided by 2, so that scores are in [0, 1].

    Defaults are those of the released code (github.com/dammsi/AnomalyDINO). Its tower is "timm:
    vit_small_patch14_dinov2" at 448 pixels (`configs/model/patch_memory_released.yaml`); any other tower can be used.
    Not included: its mask of the foreground, which it applies to some categories. Images keep their aspect ratio there.

    The method uses no text: class_name is checked and recorded, and the shared arguments words, domain, states and
    templates have no effect.

    Example:
        >>> import torch
        >>> from dualclip_lightning import PatchMemory
        >>> method = PatchMemory(pretrained="demo")
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        layers: numbers of the blocks whose patch tokens are averaged, counted from 1; None for the last. Tokens of the
            stages of a convolutional network are concatenated; None for those of strides 8 and 16.
        k_shot: number of normal images; 0 for all other images of the test set. They are drawn with the seed from
            `reference_dir`, or from the training images of the datamodule.
        reference_dir: folder of normal images for `k_shot`.
        rotations: number of views of every normal image at equal angles, 8 as released; 1 for the image as it is.
        neighbours: number of nearest patches of the memory whose distances are averaged.
        share: share of the patches of all other images, the nearest ones, whose distances are averaged if there are no
            normal images, in [0, 1].
        subsets: number of random parts of the test set whose images are compared, if there are no normal images.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.TRANSDUCTIVE
    uses_text: ClassVar[bool] = False

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        k_shot: int = 0,
        reference_dir: str | Path | None = None,
        rotations: int = 8,
        neighbours: int = 1,
        share: float = 0.001,
        subsets: int = 1,
        drawing: str | dict[str, Any] = "anomalydino",
        **common: Any,
    ) -> None:
        check_blocks("layers", layers)
        check_path("reference_dir", reference_dir)
        check_shots(k_shot, reference_dir)
        check_whole("rotations", rotations, 1, "The released code has 8.")
        check_whole("neighbours", neighbours, 1, "The released code has 1.")
        check_share("share", share)
        check_whole("subsets", subsets, 1)
        super().__init__(drawing=drawing, **common)
        self.kind = Kind.FEW_SHOT if k_shot else Kind.TRANSDUCTIVE
        encoder = memory_encoder(self.backbone.visual, layers)
        angles = [360 * turn / rotations for turn in range(1, rotations)]
        self.model = PatchMemoryModel(encoder, neighbours, share, angles, self.drawing)
        if k_shot:
            self.references = Bank(self.model, partial(normal_images, k_shot, self.seed, reference_dir))
        else:
            self.levers = (*self.levers, "raise subsets")
            self.references = WholeSet(self.model, subsets, self.seed)


def memory_encoder(visual: nn.Module, layers: Sequence[int] | None = None) -> MeanLayerEncoder:
    """Return the encoder of the patches of a tower: tokens of the last layer, unless others are chosen."""
    return MeanLayerEncoder(intermediate_encoder(visual, layers, default=lambda depth: (depth,), embed=False))
