"""From pictures to embeddings of their views; few views are kept, many are encoded again when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, DualPathVisionEncoder, Preprocessing
from dualclip_lightning.images.area import turn
from dualclip_lightning.images.picture import Picture
from dualclip_lightning.predict.input.geometry import (
    Geometry,
    Size,
    ViewPlan,
    extract,
    limit_note,
    patch_places,
    plan_views,
)
from dualclip_lightning.utilities.seeding import derive_seed

MOST_KEPT_VIEWS = 32
"""An image with more views is encoded twice, as a reference and to be scored, so that memory does not grow with it."""
MOST_REFERENCE_PATCHES = 10_000
"""Of an image with more patches, so many random ones serve as reference."""


class PatchSet(NamedTuple):
    """The patches of one image as others are compared with them."""

    name: str
    embeddings: Tensor
    """[N, D]"""
    places: Tensor
    """[N, 2], centres as shares of the image's height and width"""


class ViewBatch(NamedTuple):
    """Some views of one image."""

    first: int
    """Number of the first of them."""
    images: Tensor
    """[V, 3, h, w], normalised"""
    features: DualPathFeatures


class Prepared(NamedTuple):
    """An image read and laid out, but not encoded."""

    name: str
    plan: ViewPlan
    notes: tuple[str, ...]
    views: Tensor | None
    """[V, 3, h, w], normalised; None if there are many."""
    picture: Picture | None
    """Kept where the views are not."""


class EncodedImage(NamedTuple):
    """An image ready to be scored and to be a reference."""

    plan: ViewPlan
    notes: tuple[str, ...]
    patch_set: PatchSet
    batches: Callable[[], Iterator[ViewBatch]]


class ImageEncoder:
    """Encodes pictures in views.

    Args:
        encoder: on its device.
        preprocessing: of the weights, at the model's size.
        geometry: how images become views.
        batch_size: views at a time.
    """

    def __init__(
        self, encoder: DualPathVisionEncoder, preprocessing: Preprocessing, geometry: Geometry, batch_size: int
    ) -> None:
        self.encoder = encoder
        self.preprocessing = preprocessing
        self.geometry = geometry
        self.batch_size = batch_size

    def plan(self, size: Size) -> ViewPlan:
        """The views of an image of this height and width."""
        patch = tuple(self.encoder.visual.patch_size)
        return plan_views(size, self.geometry, self.preprocessing.size, (patch[0], patch[1]))

    def prepare(self, name: str, picture: Picture) -> Prepared:
        """Lay out a picture; it does not touch the model and may run in any thread."""
        plan = self.plan(picture.size)
        notes = (*picture.notes, *filter(None, [limit_note(plan, self.geometry, self.preprocessing.size)]))
        if len(plan.corners) > MOST_KEPT_VIEWS:
            return Prepared(name, plan, notes, None, picture)
        with turn(picture.size):
            views = self._views(picture, plan, range(len(plan.corners)))
        return Prepared(name, plan, notes, views, None)

    @torch.inference_mode()
    def encode(self, images: Sequence[Prepared]) -> list[EncodedImage]:
        """Encode images; views of one size share batches."""
        few = {i: image.views for i, image in enumerate(images) if image.views is not None}
        batches: dict[int, ViewBatch] = {}
        for size in dict.fromkeys(views.shape[1:] for views in few.values()):
            same = {i: views for i, views in few.items() if views.shape[1:] == size}
            batches.update(zip(same, self._encode_together(list(same.values())), strict=True))
        return [
            self._keep(image, batches[i]) if i in batches else self._revisit(image) for i, image in enumerate(images)
        ]

    def _encode_together(self, images: Sequence[Tensor]) -> Iterator[ViewBatch]:
        """Several images' views, in full batches."""
        views = torch.cat(list(images))
        parts = [self.encode_views(part) for part in views.split(self.batch_size)]
        counts = [len(image) for image in images]
        classes = torch.cat([p.class_embedding for p in parts]).split(counts)
        patches = torch.cat([p.patch_embeddings for p in parts]).split(counts)
        for image, of_classes, of_patches in zip(images, classes, patches, strict=True):
            yield ViewBatch(0, image, DualPathFeatures(of_classes, of_patches))

    def encode_views(self, views: Tensor) -> DualPathFeatures:
        """Embeddings of normalised views [V, 3, h, w] in single precision, on the encoder's device."""
        device = next(self.encoder.parameters()).device
        return DualPathFeatures(*(part.float() for part in self.encoder(views.to(device))))

    def _keep(self, image: Prepared, batch: ViewBatch) -> EncodedImage:
        return EncodedImage(image.plan, image.notes, _patch_set(image, [batch]), lambda: iter([batch]))

    def _revisit(self, image: Prepared) -> EncodedImage:
        batches = partial(self._batches, image)
        return EncodedImage(image.plan, image.notes, _patch_set(image, batches()), batches)

    def _batches(self, image: Prepared) -> Iterator[ViewBatch]:
        if image.picture is None:
            msg = f"The picture of '{image.name}' was not kept."
            raise RuntimeError(msg)
        count = len(image.plan.corners)
        for first in range(0, count, self.batch_size):
            numbers = range(first, min(first + self.batch_size, count))
            views = self._views(image.picture, image.plan, numbers)
            yield ViewBatch(first, views, self.encode_views(views))

    def _views(self, picture: Picture, plan: ViewPlan, numbers: Sequence[int]) -> Tensor:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.preprocessing.mean, self.preprocessing.std))
        views = [extract(picture.pixels, plan, number, self.preprocessing.interpolation) for number in numbers]
        return (torch.stack(views) - mean) / std


def batch_places(plan: ViewPlan, batch: ViewBatch) -> Tensor:
    """Centres of the patches of a batch, view by view: [V*h*w, 2]."""
    return torch.cat([patch_places(plan, batch.first + i) for i in range(len(batch.images))])


def _patch_set(image: Prepared, batches: Iterator[ViewBatch] | Sequence[ViewBatch]) -> PatchSet:
    """All patches of an image, or a random choice that depends on their number alone."""
    size = image.plan.view[0] * image.plan.view[1]
    chosen = _chosen(len(image.plan.corners) * size)
    embeddings, places = [], []
    for batch in batches:
        patches = batch.features.patch_embeddings.flatten(0, 2)
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
