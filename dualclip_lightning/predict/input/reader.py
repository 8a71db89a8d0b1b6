"""Views of pictures; if there are few they are kept, otherwise they are extracted again when needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualclip_lightning.backbone import Preprocessing
from dualclip_lightning.images.area import turn
from dualclip_lightning.images.picture import Picture
from dualclip_lightning.predict.input.geometry import Geometry, Size, ViewPlan, limit_note, plan_views
from dualclip_lightning.predict.input.views import extract
from dualclip_lightning.utilities.seeding import file_identity

MOST_KEPT_VIEWS = 32
"""An image with more views is encoded twice, as a reference and to be scored, so that memory does not grow with it."""


class PatchSet(NamedTuple):
    """The patches of one image, with which others are compared."""

    name: str
    descriptors: tuple[Tensor, ...]
    """Tensors [N, ..., C] of length 1, as from `ReferenceScoring.as_reference`."""
    places: Tensor
    """[N, 2], centres as shares of the image's height and width; without rotations"""
    class_embeddings: Tensor
    """[V, D], one for every view"""


class LayerSet(NamedTuple):
    """The patch tokens of one image, for methods that compare the layers of whole images."""

    name: str
    layers: tuple[Tensor, ...]
    """Tensors [1, h, w, C]; none for a method without references."""


Reference = PatchSet | LayerSet


class ViewBatch(NamedTuple):
    """Some views of one image, and what a method computed from them."""

    first: int
    """Index of the first of these views."""
    images: Tensor
    """[V, 3, h, w], normalised"""
    computed: tuple[Tensor, ...]
    """Tensors [V, ...], as from `ViewReader.compute`."""


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


class ViewReader(ABC):
    """Reader that divides pictures into views, from which a method computes what it needs, in batches.

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

    @abstractmethod
    def compute(self, views: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return tensors [V, ...] that a method computes from normalised views [V, 3, h, w] with these names."""

    @abstractmethod
    def reference(self, image: Prepared, batches: Callable[[], Iterator[ViewBatch]]) -> Reference:
        """Return what other images are compared with."""

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

    @torch.inference_mode()
    def encode(self, images: Sequence[Prepared]) -> list[EncodedImage]:
        """Compute what is needed to score images; views of equal size share batches."""
        few = {i: image for i, image in enumerate(images) if image.views is not None}
        batches: dict[int, ViewBatch] = {}
        for size in dict.fromkeys(image.plan.view for image in few.values()):
            same = {i: image for i, image in few.items() if image.plan.view == size}
            batches.update(zip(same, self._compute_together(list(same.values())), strict=True))
        return [
            self._encoded(image, partial(_only, batches[i]) if i in batches else partial(self._batches, image))
            for i, image in enumerate(images)
        ]

    def _encoded(self, image: Prepared, batches: Callable[[], Iterator[ViewBatch]]) -> EncodedImage:
        return EncodedImage(image.plan, image.notes, self.reference(image, batches), batches)

    def _compute_together(self, images: Sequence[Prepared]) -> Iterator[ViewBatch]:
        """Compute on the views of several images in full batches, and yield those of each image."""
        views = [self._kept_views(image, range(len(image.plan.corners))) for image in images]
        counts = [len(own) for own in views]
        names = [name for image in images for name in view_names(image.plan, 0, len(image.plan.corners), image.name)]
        parts = enumerate(torch.cat(views).split(self.batch_size))
        found = [self.compute(part, names[i * self.batch_size :][: len(part)]) for i, part in parts]
        kinds = (torch.cat(kind).split(counts) for kind in zip(*found, strict=True))
        for own, *computed in zip(views, *kinds, strict=True):
            yield ViewBatch(0, own, tuple(computed))

    def _batches(self, image: Prepared) -> Iterator[ViewBatch]:
        count = len(image.plan.corners)
        for first in range(0, count, self.batch_size):
            numbers = range(first, min(first + self.batch_size, count))
            views = self._kept_views(image, numbers)
            names = view_names(image.plan, first, len(views), image.name)
            yield ViewBatch(first, views, self.compute(views, names))

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


def view_names(plan: ViewPlan, first: int, count: int, name: str) -> list[str]:
    """Return the names from which a method derives its seeds: the image's path, and the view's number if needed."""
    if len(plan.corners) == 1:
        return [name]
    name = file_identity(name)
    return [f"{name}#{number}" for number in range(first, first + count)]


def _only(batch: ViewBatch) -> Iterator[ViewBatch]:
    yield batch
