"""Embeddings of views, and the patches with which other images are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, DualPathVisionEncoder, Preprocessing, TwoTowerEncoder
from dualclip_lightning.predict.input.geometry import Geometry, ViewPlan
from dualclip_lightning.predict.input.reader import EncodedImage, PatchSet, Prepared, ViewBatch, ViewReader
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
        encoder: DualPathVisionEncoder | TwoTowerEncoder,
        preprocessing: Preprocessing,
        geometry: Geometry,
        batch_size: int,
        comparison: ReferenceScoring | None = None,
    ) -> None:
        height, width = encoder.visual.patch_size
        super().__init__(preprocessing, (height, width), geometry, batch_size)
        self.encoder = encoder
        self.comparison = comparison or ReferenceScoring()

    @torch.inference_mode()
    def encode(self, images: Sequence[Prepared]) -> list[EncodedImage]:
        """Encode images; views of equal size share batches."""
        few = {i: image.views for i, image in enumerate(images) if image.views is not None}
        batches: dict[int, ViewBatch] = {}
        for size in dict.fromkeys(views.shape[1:] for views in few.values()):
            same = {i: views for i, views in few.items() if views.shape[1:] == size}
            batches.update(zip(same, self._encode_together(list(same.values())), strict=True))
        return [
            self._keep(image, batches[i]) if i in batches else self._revisit(image) for i, image in enumerate(images)
        ]

    def _encode_together(self, images: Sequence[Tensor]) -> Iterator[ViewBatch]:
        """Encode the views of several images in full batches, and yield those of each image."""
        parts = [self.view_batch(0, part) for part in torch.cat(list(images)).split(self.batch_size)]
        counts = [len(image) for image in images]
        kinds = zip(*((*embedded(part)[:2], *part.descriptors) for part in parts), strict=True)
        for image, *own in zip(images, *(torch.cat(kind).split(counts) for kind in kinds), strict=True):
            yield ViewBatch(0, image, DualPathFeatures(*own[:2]), tuple(own[2:]))

    def view_batch(self, first: int, views: Tensor) -> ViewBatch:
        """Encode normalised views [V, 3, h, w] in single precision, on the encoder's device."""
        features = self._features(views)
        embeddings = DualPathFeatures(features.class_embedding.float(), features.patch_embeddings.float())
        return ViewBatch(first, views, embeddings, self.comparison.descriptors(features.layers))

    def _features(self, views: Tensor) -> DualPathFeatures:
        return self.encoder(views.to(next(self.encoder.parameters()).device))

    def _keep(self, image: Prepared, batch: ViewBatch) -> EncodedImage:
        return EncodedImage(image.plan, image.notes, self._patch_set(image, [batch]), lambda: iter([batch]))

    def _revisit(self, image: Prepared) -> EncodedImage:
        batches = partial(self._batches, image)
        return EncodedImage(image.plan, image.notes, self._patch_set(image, batches()), batches)

    def _patch_set(self, image: Prepared, batches: Iterator[ViewBatch] | Sequence[ViewBatch]) -> PatchSet:
        """Return all patches of an image, or a random choice that depends only on their number."""
        size = image.plan.view[0] * image.plan.view[1]
        chosen = _chosen(len(image.plan.corners) * size)
        kept, places, classes = [], [], []
        for batch in batches:
            last = (batch.first + len(batch.images)) * size
            here = chosen[(chosen >= batch.first * size) & (chosen < last)] - batch.first * size
            described = self.comparison.as_reference(
                batch.images, batch.descriptors, lambda turned: self._features(turned).layers
            )
            kept.append([_choose(each, size, here) for each in described])
            places.append(batch_places(image.plan, batch)[here])
            classes.append(embedded(batch).class_embedding)
        descriptors = tuple(torch.cat(parts) for parts in zip(*kept, strict=True))
        return PatchSet(image.name, descriptors, torch.cat(places), torch.cat(classes))


def batch_places(plan: ViewPlan, batch: ViewBatch) -> Tensor:
    """Return the centres of the patches of a batch, view by view: [V*h*w, 2]."""
    return torch.cat([patch_places(plan, batch.first + i) for i in range(len(batch.images))])


def embedded(batch: ViewBatch) -> DualPathFeatures:
    """Return the embeddings of a batch from an `ImageEncoder`."""
    if batch.features is None:
        msg = "The views are not encoded."
        raise RuntimeError(msg)
    return batch.features


def _choose(described: Tensor, size: int, here: Tensor) -> Tensor:
    """Return the chosen patches of views [V, T * size, C], the same numbers of each of T rotations: [n, C]."""
    by_rotation = described.unflatten(1, (-1, size)).transpose(0, 1).flatten(1, 2)
    return by_rotation[:, here.to(described.device)].flatten(0, 1)


def _chosen(count: int) -> Tensor:
    if count <= MOST_REFERENCE_PATCHES:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(derive_seed(0, "reference patches", count))
    return torch.randperm(count, generator=generator)[:MOST_REFERENCE_PATCHES].sort().values
