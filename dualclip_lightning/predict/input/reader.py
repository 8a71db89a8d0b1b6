"""Views of pictures; if there are few they are kept, otherwise they are extracted again when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, Preprocessing
from dualclip_lightning.images.area import turn
from dualclip_lightning.images.picture import Picture
from dualclip_lightning.predict.input.geometry import Geometry, Size, ViewPlan, limit_note, plan_views
from dualclip_lightning.predict.input.views import extract

MOST_KEPT_VIEWS = 32
"""An image with more views is encoded twice, as a reference and to be scored, so that memory does not grow with it."""


class PatchSet(NamedTuple):
    """The patches of one image, with which others are compared."""

    name: str
    descriptors: tuple[Tensor, ...]
    """Tensors [N, C] of length 1, as from `ReferenceScoring.as_reference`."""
    places: Tensor
    """[N, 2], centres as shares of the image's height and width; without rotations"""
    class_embeddings: Tensor
    """[V, D], one for every view"""


class ViewSet(NamedTuple):
    """The views of one image, for methods that compare whole images."""

    name: str
    views: Tensor | None
    """[V, 3, h, w], normalised; None if there are many."""


Reference = PatchSet | ViewSet


class ViewBatch(NamedTuple):
    """Some views of one image."""

    first: int
    """Index of the first of these views."""
    images: Tensor
    """[V, 3, h, w], normalised"""
    features: DualPathFeatures | None = None
    """None for a method that encodes views by itself."""
    descriptors: tuple[Tensor, ...] = ()
    """Tensors [V, h, w, C], as from `ReferenceScoring.descriptors`."""


class Prepared(NamedTuple):
    """An image that is read and divided into views, but not encoded."""

    name: str
    plan: ViewPlan
    notes: tuple[str, ...]
    views: Tensor | None
    """[V, 3, h, w], normalised; None if there are many."""
    picture: Picture | None
    """The picture, kept if the views are not."""


class EncodedImage(NamedTuple):
    """An image ready to be scored and to be a reference."""

    plan: ViewPlan
    notes: tuple[str, ...]
    as_reference: Reference
    batches: Callable[[], Iterator[ViewBatch]]


class ViewReader:
    """Reader that divides pictures into views, which a method then encodes by itself.

    Args:
        preprocessing: preprocessing of the weights, at the model's size.
        patch: height and width of the model's patches.
        geometry: geometry by which images are divided into views.
        batch_size: number of views at a time.
    """

    def __init__(self, preprocessing: Preprocessing, patch: Size, geometry: Geometry, batch_size: int) -> None:
        self.preprocessing = preprocessing
        self.patch = patch
        self.geometry = geometry
        self.batch_size = batch_size

    def plan(self, size: Size) -> ViewPlan:
        """Return the views of an image of this height and width."""
        return plan_views(size, self.geometry, self.preprocessing.size, self.patch)

    def prepare(self, name: str, picture: Picture) -> Prepared:
        """Divide a picture into views; this does not use the model and may run in any thread."""
        plan = self.plan(picture.size)
        notes = (*picture.notes, *filter(None, [limit_note(plan, self.geometry, self.preprocessing.size)]))
        if len(plan.corners) > MOST_KEPT_VIEWS:
            return Prepared(name, plan, notes, None, picture)
        with turn(picture.size):
            views = self._views(picture, plan, range(len(plan.corners)))
        return Prepared(name, plan, notes, views, None)

    def encode(self, images: Sequence[Prepared]) -> list[EncodedImage]:
        """Return images as their views, without embeddings."""
        return [
            EncodedImage(image.plan, image.notes, ViewSet(image.name, image.views), partial(self._batches, image))
            for image in images
        ]

    def view_batch(self, first: int, views: Tensor) -> ViewBatch:
        """Return normalised views [V, 3, h, w], which this class does not encode."""
        return ViewBatch(first, views)

    def _batches(self, image: Prepared) -> Iterator[ViewBatch]:
        count = len(image.plan.corners)
        for first in range(0, count, self.batch_size):
            numbers = range(first, min(first + self.batch_size, count))
            yield self.view_batch(first, self._kept_views(image, numbers))

    def _kept_views(self, image: Prepared, numbers: range) -> Tensor:
        if image.views is not None:
            return image.views[numbers.start : numbers.stop]
        if image.picture is None:
            msg = f"The picture of '{image.name}' was not kept."
            raise RuntimeError(msg)
        return self._views(image.picture, image.plan, numbers)

    def _views(self, picture: Picture, plan: ViewPlan, numbers: Sequence[int]) -> Tensor:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.preprocessing.mean, self.preprocessing.std))
        views = [extract(picture.pixels, plan, number, self.preprocessing.interpolation) for number in numbers]
        return (torch.stack(views) - mean) / std
