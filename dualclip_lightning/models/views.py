"""The data sets of a run as a method sees them: every image resized by itself, in the order the method wants."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, Transform

from dualclip_lightning.images.listing import find_images
from dualclip_lightning.images.masks import MaskRule, describe_odd, mask_paths, odd_masks
from dualclip_lightning.images.tensors import read_rgb, unreadable_images
from dualclip_lightning.models.loaders import OneSize, check_loader, chosen_images, flattened, reading_options
from dualclip_lightning.pairing import OrderedView, image_names
from dualclip_lightning.pairing.view import innermost, unresized

logger = logging.getLogger(__name__)

# A mixin with AnomalibModule as its base would itself be listed as a model.
if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object


class ViewsMixin(Base):
    """Mixin: every run but training sees an `OrderedView` of its data sets; a method chooses its order in `_view`.

    It does not matter whether the data comes from anomalib's datamodule, from one of the user's, or as loaders. Without
    the view anomalib's collation would squash images of different sizes to one size, so that a score depended on the
    batch, and one broken file would end a run over a folder.
    """

    model: Any
    _references: tuple[str, ...] = ()
    """Files of the images that every image is compared with, where there are such."""
    _listed: Sequence[int] = ()
    """Positions of the run's images in the data set at hand, with those that cannot be read."""

    def _view_data(self, stage: str) -> None:
        """Put a loader of the view of its data set in the place of every loader of this run, wherever it comes from.

        Raises:
            TypeError: a loader over which no view can be laid (`check_loader`).
            ValueError: the same, or no image that can be read.
        """
        loop = {"test": "test_loop", "predict": "predict_loop", "validate": "validate_loop"}[stage]
        source = getattr(self.trainer, loop)._data_source  # noqa: SLF001 - Lightning has no other way
        loaders = flattened(source.dataloader())
        loaders.flattened = [self._view_loader(loader, stage) for loader in loaders.flattened]
        source.instance = loaders

    def _view_loader(self, loader: DataLoader, stage: str) -> DataLoader:
        """A loader of the view of a loader's data set: its images, its batch size, its way of reading.

        Their order is that which the method wants; every batch tells the paths of its images.
        """
        check_loader(loader)
        names = image_names(loader.dataset)
        listed, size = chosen_images(loader)
        kept = listed
        if stage == "predict" and names is not None:
            kept = [listed[i] for i in readable([names[position] for position in listed])]
        reading = reading_options(loader)
        self._listed = listed
        view = self._view(loader.dataset, names, kept, reading)
        return DataLoader(view, batch_size=size, **{**reading, "collate_fn": OneSize(loader.collate_fn)})

    def _view(
        self, dataset: Dataset, names: Sequence[str] | None, kept: Sequence[int], reading: Mapping[str, Any]
    ) -> OrderedView:
        """The view of a data set.

        Args:
            dataset: its items are anomalib's.
            names: the path of every item, None if they are not known without reading it.
            kept: positions of the images of the run.
            reading: arguments of the run's DataLoader that say how images are read.
        """
        del names, reading
        return self._ordered(dataset, kept)

    def _ordered(self, dataset: Dataset, order: Sequence[int]) -> OrderedView:
        """The items of a data set in an order, with their masks as the evaluator asks for them."""
        return ordered_view(dataset, order, self._geometry(), getattr(self.evaluator, "masks", "nearest"))

    def _read_images(self, names: Sequence[str]) -> Tensor:
        """Images [R, 3, H, W] by path, prepared as those of the run are."""
        return torch.stack([self._prepare(self._geometry()(read_rgb(name))) for name in names])

    def _set_references(self, names: Sequence[str]) -> None:
        """Encode image files as the model's references."""
        self.model.set_references(self._read_images(names).to(self.device), names)
        self._references = tuple(names)

    def _precision_of_run(self) -> AbstractContextManager[None]:
        """That of the steps, for references to be encoded as the images they meet; Lightning's hooks are outside it."""
        return self.trainer.precision_plugin.forward_context()

    @staticmethod
    def _image_files(folder: str | Path) -> list[str]:
        """Paths of all readable images of a folder; the others are named in a warning.

        Raises:
            ValueError: no folder, or no readable image in it.
        """
        try:
            listing = find_images([folder])
            for sentence in (listing.left_out, *(f"{name}: {reason}" for name, reason in listing.unreadable.items())):
                if sentence is not None:
                    logger.warning(sentence)
            names = [str(path) for path in listing.paths]
            return [names[i] for i in readable(names)]
        except (FileNotFoundError, ValueError) as error:
            msg = f"Expected reference_dir '{folder}' to be a folder with at least one readable image. {error}"
            raise ValueError(msg) from error

    def _geometry(self) -> Transform:
        """The resizing part of the pre-processor."""
        return geometry_of(self.pre_processor)

    def _prepare(self, image: Tensor) -> Tensor:
        transform = getattr(self.pre_processor, "transform", None)
        return image if transform is None else transform(image)


def geometry_of(pre_processor: Any) -> Transform:
    """The resizing part of a pre-processor, which need not have any."""
    transform = getattr(pre_processor, "transform", None)
    parts = getattr(transform, "transforms", [transform])
    return Compose([part for part in parts if isinstance(part, Resize | CenterCrop)] or [torch.nn.Identity()])


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
