"""Embeddings of views, and the patches with which other images are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, Preprocessing, ReferenceEncoder
from dualclip_lightning.predict.input.geometry import Geometry, ViewPlan
from dualclip_lightning.predict.input.reader import PatchSet, Prepared, ViewBatch, ViewReader
from dualclip_lightning.predict.input.views import patch_places
from dualclip_lightning.scoring import ReferenceScoring
from dualclip_lightning.utilities.seeding import derive_seed

MOST_REFERENCE_PATCHES = 10_000
"""Maximum number of patches of a reference; of an image with more, random ones are chosen."""


class ImageEncoder(ViewReader):
    """Encoder of the views of pictures, several pictures at once.

    Args:
        encoder: encoder on its device.
        preprocessing: preprocessing of the weights, at the model's size.
        geometry: geometry by which images are divided into views.
        batch_size: number of views at a time.
        comparison: how images are compared, which says what of them is kept.
    """

    def __init__(
        self,
        encoder: ReferenceEncoder,
        preprocessing: Preprocessing,
        geometry: Geometry,
        batch_size: int,
        comparison: ReferenceScoring | None = None,
    ) -> None:
        height, width = encoder.visual.patch_size
        super().__init__(preprocessing, (height, width), geometry, batch_size)
        self.encoder = encoder
        self.comparison = comparison or ReferenceScoring()

    def compute(self, views: Tensor, names: Sequence[str] = ()) -> tuple[Tensor, ...]:
        """Return class embeddings, patch embeddings and descriptors of views [V, 3, h, w], in single precision."""
        del names
        features = self._features(views)
        embeddings = features.class_embedding.float(), features.patch_embeddings.float()
        return *embeddings, *self.comparison.descriptors(features.layers)

    def _features(self, views: Tensor) -> DualPathFeatures:
        return self.encoder(views.to(next(self.encoder.parameters()).device))

    def reference(self, image: Prepared, batches: Callable[[], Iterator[ViewBatch]]) -> PatchSet:
        """Return all patches of an image, or a random choice that depends only on their number."""
        size = image.plan.view[0] * image.plan.view[1]
        chosen = _chosen(len(image.plan.corners) * size)
        kept, places, classes = [], [], []
        for batch in batches():
            last = (batch.first + len(batch.images)) * size
            here = chosen[(chosen >= batch.first * size) & (chosen < last)] - batch.first * size
            described = self.comparison.as_reference(
                batch.images, descriptors(batch), lambda turned: self._features(turned).layers
            )
            kept.append([_choose(each, size, here) for each in described])
            places.append(batch_places(image.plan, batch)[here])
            classes.append(embedded(batch).class_embedding)
        together = tuple(torch.cat(parts) for parts in zip(*kept, strict=True))
        return PatchSet(image.name, together, torch.cat(places), torch.cat(classes))


def batch_places(plan: ViewPlan, batch: ViewBatch) -> Tensor:
    """Return the centres of the patches of a batch, view by view: [V*h*w, 2]."""
    return torch.cat([patch_places(plan, batch.first + i) for i in range(len(batch.images))])


def embedded(batch: ViewBatch) -> DualPathFeatures:
    """Return the embeddings of a batch from an `ImageEncoder`."""
    classes, patches, *_ = batch.computed
    return DualPathFeatures(classes, patches)


def descriptors(batch: ViewBatch) -> tuple[Tensor, ...]:
    """Return the descriptors [V, h, w, ..., C] of a batch from an `ImageEncoder`."""
    return batch.computed[2:]


def _choose(described: Tensor, size: int, here: Tensor) -> Tensor:
    """Return the chosen patches of views [V, T * size, ..., C], the same of each of T rotations: [n, ..., C]."""
    by_rotation = described.unflatten(1, (-1, size)).transpose(0, 1).flatten(1, 2)
    return by_rotation[:, here.to(described.device)].flatten(0, 1)


def _chosen(count: int) -> Tensor:
    if count <= MOST_REFERENCE_PATCHES:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(derive_seed(0, "reference patches", count))
    return torch.randperm(count, generator=generator)[:MOST_REFERENCE_PATCHES].sort().values
