"""Embeddings of views, and the patches with which other images are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, DualPathVisionEncoder, Preprocessing
from dualclip_lightning.predict.input.geometry import Geometry, ViewPlan
from dualclip_lightning.predict.input.reader import EncodedImage, PatchSet, Prepared, ViewBatch, ViewReader
from dualclip_lightning.predict.input.views import patch_places
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
    """

    def __init__(
        self, encoder: DualPathVisionEncoder, preprocessing: Preprocessing, geometry: Geometry, batch_size: int
    ) -> None:
        height, width = encoder.visual.patch_size
        super().__init__(preprocessing, (height, width), geometry, batch_size)
        self.encoder = encoder

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
        views = torch.cat(list(images))
        parts = [self.features(part) for part in views.split(self.batch_size)]
        counts = [len(image) for image in images]
        classes = torch.cat([p.class_embedding for p in parts]).split(counts)
        patches = torch.cat([p.patch_embeddings for p in parts]).split(counts)
        for image, of_classes, of_patches in zip(images, classes, patches, strict=True):
            yield ViewBatch(0, image, DualPathFeatures(of_classes, of_patches))

    def features(self, views: Tensor) -> DualPathFeatures:
        """Return the embeddings of normalised views [V, 3, h, w] in single precision, on the encoder's device."""
        device = next(self.encoder.parameters()).device
        return DualPathFeatures(*(part.float() for part in self.encoder(views.to(device))))

    def _keep(self, image: Prepared, batch: ViewBatch) -> EncodedImage:
        return EncodedImage(image.plan, image.notes, _patch_set(image, [batch]), lambda: iter([batch]))

    def _revisit(self, image: Prepared) -> EncodedImage:
        batches = partial(self._batches, image)
        return EncodedImage(image.plan, image.notes, _patch_set(image, batches()), batches)


def batch_places(plan: ViewPlan, batch: ViewBatch) -> Tensor:
    """Return the centres of the patches of a batch, view by view: [V*h*w, 2]."""
    return torch.cat([patch_places(plan, batch.first + i) for i in range(len(batch.images))])


def embedded(batch: ViewBatch) -> DualPathFeatures:
    """Return the embeddings of a batch from an `ImageEncoder`."""
    if batch.features is None:
        msg = "The views are not encoded."
        raise RuntimeError(msg)
    return batch.features


def _patch_set(image: Prepared, batches: Iterator[ViewBatch] | Sequence[ViewBatch]) -> PatchSet:
    """Return all patches of an image, or a random choice that depends only on their number."""
    size = image.plan.view[0] * image.plan.view[1]
    chosen = _chosen(len(image.plan.corners) * size)
    embeddings, places = [], []
    for batch in batches:
        patches = embedded(batch).patch_embeddings.flatten(0, 2)
        here = (
            chosen[(chosen >= batch.first * size) & (chosen < batch.first * size + len(patches))] - batch.first * size
        )
        embeddings.append(patches[here.to(patches.device)])
        places.append(batch_places(image.plan, batch)[here])
    return PatchSet(image.name, torch.cat(embeddings), torch.cat(places))


def _chosen(count: int) -> Tensor:
    if count <= MOST_REFERENCE_PATCHES:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(derive_seed(0, "reference patches", count))
    return torch.randperm(count, generator=generator)[:MOST_REFERENCE_PATCHES].sort().values
