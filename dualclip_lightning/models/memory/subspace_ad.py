"""SubspaceAD (arXiv 2602.23013)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor, nn

from dualclip_lightning.backbone import intermediate_encoder
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.memory.features import BANK_BATCH, MeanLayerEncoder, rotations
from dualclip_lightning.models.references import Bank, WholeSet, check_shots, normal_images
from dualclip_lightning.pairing import FeatureStore, ImageSet, PatchPrediction
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, PatchMoments, Subspace, draw, largest_mean
from dualclip_lightning.scoring.reference.subspace import check_explained_variance
from dualclip_lightning.utilities.arguments import check_blocks, check_path, check_whole
from dualclip_lightning.utilities.seeding import derive_seed

LARGEST = 0.01
"""Share of the pixels of a map, those with the largest values, whose mean is the image score."""
PUBLISHED_DEPTH, FIRST, LAST = 40, 23, 29
"""Number of blocks of the published tower, and its first and last layer."""


class SubspaceModel(nn.Module):
    """Torch module of SubspaceAD; scores and maps are in [0, 1).

    Args:
        encoder: module that returns the features [B, h, w, C] of images.
        explained_variance: share of the variance that the subspace explains, in (0, 1).
        angles: angles in degrees by which normal images are also rotated.
        fill: value of each channel outside a rotated image.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self,
        encoder: nn.Module,
        explained_variance: float = 0.99,
        angles: Sequence[float] = (),
        fill: Sequence[float] = (0.0, 0.0, 0.0),
        drawing: MapDrawing = DRAWINGS["subspacead"],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.explained_variance = explained_variance
        self.angles = tuple(angles)
        self.fill = fill
        self.drawing = drawing
        self.normal: PatchMoments | None = None
        self.subspace: Subspace | None = None

    def set_references(self, images: Tensor, names: Sequence[str] = ()) -> None:
        """Fit the subspace to normal images [K, 3, H, W] and their rotations; `names` are not used."""
        del names
        self.normal = PatchMoments()
        for turned in rotations(images, self.angles, self.fill):
            for part in turned.split(BANK_BATCH):
                self.normal.add(self.encoder(part).flatten(0, 2))
        self.subspace = self.normal.subspace(self.explained_variance)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W].

        Without normal images, the subspace is that of the images of the call.
        """
        if self.normal is None or self.subspace is None:
            return self.draw(self.predict_sets([ImageSet(len(images), [images])]), images.shape[-2:])
        maps = _scaled(self.subspace.residuals(self.encoder(images)), self.normal)
        return self.draw(_unscored(maps), images.shape[-2:])

    def predict_sets(self, sets: Sequence[ImageSet]) -> PatchPrediction:
        """Return the patch maps of images, each by the subspace of its set; `draw` gives the scores."""
        return _unscored(torch.cat([self._score_set(images) for images in sets]))

    def draw(self, prediction: PatchPrediction, size: Sequence[int]) -> InferenceBatch:
        """Convert patch maps to a batch with maps at full size (H, W) and image scores.

        A residual r, in units of the variance, becomes r / (1 + r) after drawing, which keeps the order of pixels and
        of images.
        """
        drawn = draw(prediction.maps, (size[0], size[1]), self.drawing)
        scores = largest_mean(drawn.flatten(1), LARGEST)
        return InferenceBatch(pred_score=scores / (1 + scores), anomaly_map=drawn / (1 + drawn))

    def _score_set(self, images: ImageSet) -> Tensor:
        """Return the maps [N, h, w] of the images of a set, by the subspace of all their patches."""
        moments = PatchMoments()
        with closing(FeatureStore(images.size)) as store:
            for features in map(self.encoder, images.batches):
                moments.add(features.flatten(0, 2))
                store.append([features])
            subspace = moments.subspace(self.explained_variance)
            parts = (part.to(subspace.mean.device) for part in store.tensors[0].split(BANK_BATCH))
            return _scaled(torch.cat([subspace.residuals(part) for part in parts]), moments)


def _scaled(residuals: Tensor, patches: PatchMoments) -> Tensor:
    """Return residuals in units of the variance of the patches of the subspace, which is 0 for equal patches."""
    return residuals / max(patches.variance, torch.finfo(residuals.dtype).tiny ** 0.5)


def _unscored(maps: Tensor) -> PatchPrediction:
    return PatchPrediction(maps.new_zeros(len(maps)), maps)


class SubspaceAD(ZeroShotShell, AnomalibModule):
    """SubspaceAD: the residual of patches outside a subspace of normal patches, without text.

    The patch tokens of several middle layers are averaged. A principal component analysis of the patches of normal
    images gives a subspace, and the squared distance of a patch to it is its score. With `k_shot` normal images and
    their rotations, this is the few-shot method of arXiv 2602.23013; without, the subspace is that of all images of
    the test set (its batched zero-shot setting), and every score depends on all of them.

    Defaults are those of the released code (github.com/CLendering/SubspaceAD). Its tower is "timm:
    vit_giant_patch14_reg4_dinov2.lvd142m" at 672 pixels, with blocks 23 to 29 of 40
    (`configs/model/subspace_ad_released.yaml`); any other tower can be used. Three things differ. Scores are r / (r +
    v) for a residual r and the variance v of the patches of the subspace, which keeps their order and is in [0, 1).
    Normal images are rotated after resizing. Maps are smoothed in pixels of the model's input. Assumed: the same shares
    of the depth in towers with fewer blocks.

    The method uses no text: class_name is checked and recorded, and the shared arguments words, domain, states and
    templates have no effect. An image that is also one of the normal images is part of its own subspace.

    Example:
        >>> import torch
        >>> from dualclip_lightning import SubspaceAD
        >>> method = SubspaceAD(pretrained="demo")
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        layers: numbers of the blocks whose patch tokens are averaged, counted from 1; None for those between 0.575 and
            0.725 of the depth. Tokens of the stages of a convolutional network are concatenated; None for those of
            strides 8 and 16.
        explained_variance: share of the variance of the patches that the subspace explains, in (0, 1).
        k_shot: number of normal images; 0 for the subspace of the test set. They are drawn with the seed from
            `reference_dir`, or from the training images of the datamodule.
        reference_dir: folder of normal images for `k_shot`.
        rotations: number of random rotations of every normal image, by 0 to 345 degrees. The released code has none for
            the category transistor.
        subsets: number of random parts of the test set, each with its own subspace, if there are no normal images.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.TRANSDUCTIVE
    uses_text: ClassVar[bool] = False

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        explained_variance: float = 0.99,
        k_shot: int = 0,
        reference_dir: str | Path | None = None,
        rotations: int = 30,
        subsets: int = 1,
        drawing: str | dict[str, Any] = "subspacead",
        **common: Any,
    ) -> None:
        check_blocks("layers", layers)
        check_explained_variance(explained_variance)
        check_path("reference_dir", reference_dir)
        check_shots(k_shot, reference_dir)
        check_whole("rotations", rotations, 0, "The released code has 30.")
        check_whole("subsets", subsets, 1)
        super().__init__(drawing=drawing, **common)
        self.kind = Kind.FEW_SHOT if k_shot else Kind.TRANSDUCTIVE
        pixels = self.backbone.preprocessing
        black = [-mean / std for mean, std in zip(pixels.mean, pixels.std, strict=True)]
        self.model = SubspaceModel(
            subspace_encoder(self.backbone.visual, layers), explained_variance, random_angles(rotations, self.seed),
            black, self.drawing,
        )  # fmt: skip
        if k_shot:
            self.references = Bank(self.model, partial(normal_images, k_shot, self.seed, reference_dir), named=False)
        else:
            self.levers = (*self.levers, "raise subsets")
            self.references = WholeSet(self.model, subsets, self.seed)


def subspace_encoder(visual: nn.Module, layers: Sequence[int] | None = None) -> MeanLayerEncoder:
    """Return the encoder of the patches of a tower: tokens without its last layer norm, of the middle layers."""
    return MeanLayerEncoder(intermediate_encoder(visual, layers, norm=False, default=middle_layers, embed=False))


def middle_layers(depth: int) -> tuple[int, ...]:
    """Return the blocks at the published shares of the depth: 23 to 29 of 40, 14 to 17 of 24, 7 to 9 of 12."""
    first, last = (max(1, round(depth * block / PUBLISHED_DEPTH)) for block in (FIRST, LAST))
    return tuple(range(first, last + 1))


def random_angles(count: int, seed: int) -> list[float]:
    """Return angles in degrees, drawn uniformly from 0 to 345 with a seed."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "rotations"))
    return (torch.rand(count, generator=generator) * 345).tolist()
