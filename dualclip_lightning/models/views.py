"""The data sets of a run as a method sees them: every image resized by itself, in the order the method wants."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from anomalib.data.utils.image import is_image_file
from anomalib.models.components.base import AnomalibModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, Transform

from dualclip_lightning.images.tensors import read_rgb, unreadable_images
from dualclip_lightning.pairing import OrderedView, image_names

logger = logging.getLogger(__name__)

# A mixin with AnomalibModule as its base would itself be listed as a model.
if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object


class ViewsMixin(Base):
    """Mixin: test and predict runs see an `OrderedView` of every data set; a method may choose its order in `_view`.

    Without it anomalib's collation would squash images of different sizes to one size, so that a score depended on
    the batch, and one broken file would end a run over a folder.
    """

    model: Any
    _references: tuple[str, ...] = ()
    """Files of the images that every image is compared with, where there are such."""

    def _view_data(self, stage: str) -> None:
        """Put the view of every data set of this run in its place."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(datamodule, "test_data"):
            datamodule.test_data = self._view_of(datamodule.test_data, stage)
            return
        source = _data_source(self.trainer, stage)
        loaders = getattr(source, "instance", None)
        if isinstance(loaders, DataLoader):
            loaders = [loaders]
        if isinstance(loaders, list) and all(isinstance(loader, DataLoader) for loader in loaders):
            source.instance = [_with_dataset(loader, self._view_of(loader.dataset, stage)) for loader in loaders]

    def teardown(self, stage: str) -> None:
        """Give the datamodule its own data set back."""
        super().teardown(stage)
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        data = getattr(datamodule, "test_data", None)
        if isinstance(data, OrderedView):
            datamodule.test_data = data.dataset

    def _view_of(self, dataset: Dataset, stage: str) -> Dataset:
        """The view of a data set, or the data set itself if it does not name its images."""
        if isinstance(dataset, OrderedView):  # left over from a run that broke off
            dataset = dataset.dataset
        names = image_names(dataset)
        kept = [] if names is None else range(len(names)) if stage == "test" else readable(names)
        return self._view(dataset, names, kept)

    def _view(self, dataset: Dataset, names: Sequence[str] | None, kept: Sequence[int]) -> Dataset:
        """The view of a data set with these names, None if unknown, of which the images at `kept` can be read."""
        return dataset if names is None else OrderedView(dataset, kept, self._geometry())

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
        names = [str(path) for path in sorted(Path(folder).rglob("*")) if is_image_file(path)]
        names = [names[i] for i in readable(names)] if names else []
        if not names:
            msg = f"Expected reference_dir to be a folder with at least one readable image, but '{folder}' has none."
            raise ValueError(msg)
        return names

    def _geometry(self) -> Transform:
        """The resizing part of the pre-processor."""
        transform = getattr(self.pre_processor, "transform", None)
        parts = getattr(transform, "transforms", [transform])
        return Compose([part for part in parts if isinstance(part, Resize | CenterCrop)] or [torch.nn.Identity()])

    def _prepare(self, image: Tensor) -> Tensor:
        transform = getattr(self.pre_processor, "transform", None)
        return image if transform is None else transform(image)


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


def _data_source(trainer: Any, stage: str) -> Any:
    """Where Lightning keeps data loaders that were passed to `test` or `predict`; None if it does no longer."""
    loop = getattr(trainer, "test_loop" if stage == "test" else "predict_loop", None)
    return getattr(loop, "_data_source", None)


def _with_dataset(loader: DataLoader, dataset: Dataset) -> DataLoader:
    """The same loader over another data set, in its order."""
    if dataset is loader.dataset:
        return loader
    return DataLoader(
        dataset,
        batch_size=loader.batch_size or 1,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
    )
