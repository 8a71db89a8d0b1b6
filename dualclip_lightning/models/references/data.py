"""The data sets of a run as a method sees them: every image resized by itself, in the order of its references."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, Transform

from dualclip_lightning.images.masks import MaskRule, describe_odd, mask_paths, odd_masks
from dualclip_lightning.images.reading.tensors import unreadable_images
from dualclip_lightning.models.references.loaders import (
    OneSize,
    check_loader,
    chosen_images,
    flattened,
    reading_options,
)
from dualclip_lightning.pairing import OrderedView, image_names, known_names
from dualclip_lightning.pairing.view import innermost, unresized

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunImages:
    """The images of one data loader of a run, before they have an order."""

    dataset: Dataset
    """Its items are anomalib's."""
    names: Sequence[str] | None
    """The path of every item; None if they are not known without reading it."""
    listed: Sequence[int]
    """Positions in the data set of the images that the loader gives, also of those that cannot be read."""
    kept: Sequence[int]
    """Positions of the images of the run."""
    reading: Mapping[str, Any]
    """Arguments of the loader that say how images are read."""
    geometry: Transform
    """The resizing of an image."""
    transform: Callable[[Tensor], Tensor]
    """Makes of a resized image, or of a batch of them, what the model takes."""
    masks: MaskRule

    def view(self, order: Sequence[int]) -> OrderedView:
        """The items at some positions, in that order, resized one by one."""
        return ordered_view(self.dataset, order, self.geometry, self.masks)

    def known_names(self, positions: Sequence[int]) -> list[str]:
        """Distinct names of the items at some positions (`pairing.known_names`)."""
        return known_names(self.dataset, self.names, positions)


Arrange = Callable[[RunImages], OrderedView]


def view_data(trainer: Any, stage: str, pre_processor: Any, masks: MaskRule, arrange: Arrange) -> None:
    """Put a loader of the view of its data set in the place of every loader of a run, wherever it comes from.

    It does not matter whether the data comes from anomalib's datamodule, from one of the user's, or as loaders. Without
    the view anomalib's collation would squash images of different sizes to one size, so that a score depended on the
    batch, and one broken file would end a run over a folder.

    Raises:
        TypeError: a loader over which no view can be laid (`check_loader`).
        ValueError: the same, or no image that can be read.
    """
    loop = {"test": "test_loop", "predict": "predict_loop", "validate": "validate_loop"}[stage]
    source = getattr(trainer, loop)._data_source  # noqa: SLF001 - Lightning has no other way
    loaders = flattened(source.dataloader())
    skip = stage == "predict"
    loaders.flattened = [view_loader(each, pre_processor, masks, arrange, skip) for each in loaders.flattened]
    source.instance = loaders


def view_loader(
    loader: DataLoader, pre_processor: Any, masks: MaskRule, arrange: Arrange, skip_unreadable: bool = False
) -> DataLoader:
    """A loader of the view of a loader's data set: its images, its batch size, its way of reading.

    Their order is that which `arrange` gives them; every batch tells the paths of its images.
    """
    check_loader(loader)
    names = image_names(loader.dataset)
    listed, size = chosen_images(loader)
    kept = listed
    if skip_unreadable and names is not None:
        kept = [listed[i] for i in readable([names[position] for position in listed])]
    reading = reading_options(loader)
    geometry, transform = geometry_of(pre_processor), transform_of(pre_processor)
    view = arrange(RunImages(loader.dataset, names, listed, kept, reading, geometry, transform, masks))
    return DataLoader(view, batch_size=size, **{**reading, "collate_fn": OneSize(loader.collate_fn)})


def geometry_of(pre_processor: Any) -> Transform:
    """The resizing part of a pre-processor, which need not have any."""
    transform = getattr(pre_processor, "transform", None)
    parts = getattr(transform, "transforms", [transform])
    return Compose([part for part in parts if isinstance(part, Resize | CenterCrop)] or [torch.nn.Identity()])


def transform_of(pre_processor: Any) -> Callable[[Tensor], Tensor]:
    """What a pre-processor makes of an image; nothing where there is none."""
    return getattr(pre_processor, "transform", None) or torch.nn.Identity()


def ordered_view(dataset: Dataset, order: Sequence[int], geometry: Transform, masks: MaskRule) -> OrderedView:
    """An `OrderedView` that resizes images and masks itself; masks that are not black and white are named in a warning.

    anomalib puts the resizing of the pre-processor into the augmentations of a data set, where a mask takes the nearest
    pixel whatever rule is asked for.
    """
    odd = odd_masks(path for part in innermost(dataset) for path in mask_paths(part))
    if odd:
        logger.warning(describe_odd(odd))
    return OrderedView(unresized(dataset, geometry), order, geometry, masks)


def batch_names(batch: Any) -> list[str]:
    """Path of every image of a batch; empty where the data set does not tell them."""
    return [] if batch.image_path is None else [str(path) for path in batch.image_path]


def readable(names: Sequence[str]) -> list[int]:
    """Positions of the images that can be read; the others are named in a warning.

    Raises:
        ValueError: none can be read.
    """
    broken = dict(unreadable_images(names))
    if broken:
        listing = "\n".join(f"  {name}: {reason}" for name, reason in broken.items())
        logger.warning("%d image(s) cannot be read and are left out:\n%s", len(broken), listing)
    kept = [i for i, name in enumerate(names) if name not in broken]
    if not kept:
        msg = f"None of the {len(names)} image(s) can be read. Check the path and the files named above."
        raise ValueError(msg)
    return kept
