"""The data sets of a run, with every image resized individually, in the order of its references."""

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
from dualclip_lightning.pairing import OrderedDataset, image_names, known_names
from dualclip_lightning.pairing.ordered import innermost, unresized

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunImages:
    """The images of one data loader of a run, before they are ordered."""

    dataset: Dataset
    """Data set with anomalib's items."""
    names: Sequence[str] | None
    """The path of every item; None if the paths are not known without loading the items."""
    listed: Sequence[int]
    """Positions of the images that the loader selects, including those that cannot be read."""
    kept: Sequence[int]
    """Positions of the images of the run."""
    reading: Mapping[str, Any]
    """Arguments of the loader that affect reading."""
    geometry: Transform
    """Transform that resizes an image."""
    transform: Callable[[Tensor], Tensor]
    """Transform from a resized image, or a batch of them, to the model's input."""
    masks: MaskRule

    def ordered(self, order: Sequence[int]) -> OrderedDataset:
        """Return the items at some positions, in that order, each resized individually."""
        return ordered_dataset(self.dataset, order, self.geometry, self.masks)

    def known_names(self, positions: Sequence[int]) -> list[str]:
        """Return distinct names of the items at some positions (`pairing.known_names`)."""
        return known_names(self.dataset, self.names, positions)


Arrange = Callable[[RunImages], OrderedDataset]


def order_data(trainer: Any, stage: str, pre_processor: Any, masks: MaskRule, arrange: Arrange) -> None:
    """Replace every loader of a run by one whose images are in the order of `arrange`.

    The data may come from anomalib's datamodule, from a custom one, or as loaders. Without
    this, anomalib's collation would squash images of different sizes to one size, so that a score depended on the
    batch, and one broken file would end a run over a folder.

    Raises:
        TypeError: a loader cannot be replaced (`check_loader`).
        ValueError: as in `check_loader`, or no image can be read.
    """
    loop = {"test": "test_loop", "predict": "predict_loop", "validate": "validate_loop"}[stage]
    source = getattr(trainer, loop)._data_source  # noqa: SLF001 - Lightning has no other way
    loaders = flattened(source.dataloader())
    skip = stage == "predict"
    loaders.flattened = [ordered_loader(each, pre_processor, masks, arrange, skip) for each in loaders.flattened]
    source.instance = loaders


def ordered_loader(
    loader: DataLoader, pre_processor: Any, masks: MaskRule, arrange: Arrange, skip_unreadable: bool = False
) -> DataLoader:
    """Return a loader of the same images in order, with the batch size and reading options of the given one.

    The order comes from `arrange`, and every batch has the paths of its images.
    """
    check_loader(loader)
    names = image_names(loader.dataset)
    listed, size = chosen_images(loader)
    kept = listed
    if skip_unreadable and names is not None:
        kept = [listed[i] for i in readable([names[position] for position in listed])]
    reading = reading_options(loader)
    geometry, transform = geometry_of(pre_processor), transform_of(pre_processor)
    ordered = arrange(RunImages(loader.dataset, names, listed, kept, reading, geometry, transform, masks))
    return DataLoader(ordered, batch_size=size, **{**reading, "collate_fn": OneSize(loader.collate_fn)})


def geometry_of(pre_processor: Any) -> Transform:
    """Return the resizing part of a pre-processor, which may have none."""
    transform = getattr(pre_processor, "transform", None)
    parts = getattr(transform, "transforms", [transform])
    return Compose([part for part in parts if isinstance(part, Resize | CenterCrop)] or [torch.nn.Identity()])


def transform_of(pre_processor: Any) -> Callable[[Tensor], Tensor]:
    """Return the transform of a pre-processor; the identity if there is none."""
    return getattr(pre_processor, "transform", None) or torch.nn.Identity()


def ordered_dataset(dataset: Dataset, order: Sequence[int], geometry: Transform, masks: MaskRule) -> OrderedDataset:
    """Return an `OrderedDataset` that resizes images and masks; masks that are not black and white give a warning.

    anomalib adds the resizing of the pre-processor to the augmentations of a data set, where masks are always resized
    with the nearest pixel.
    """
    odd = odd_masks(path for part in innermost(dataset) for path in mask_paths(part))
    if odd:
        logger.warning(describe_odd(odd))
    return OrderedDataset(unresized(dataset, geometry), order, geometry, masks)


def batch_names(batch: Any) -> list[str]:
    """Return the path of every image of a batch; empty if the data set does not provide paths."""
    return [] if batch.image_path is None else [str(path) for path in batch.image_path]


def readable(names: Sequence[str]) -> list[int]:
    """Return the positions of the images that can be read; a warning names the others.

    Raises:
        ValueError: no image can be read.
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
