"""The Lightning side of pairing: finding the data set, drawing its groups, feeding batches to them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from anomalib.data.utils.image import is_image_file
from anomalib.models.components.base import AnomalibModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, Transform

from dualclip_lightning.data.images import read_rgb, unreadable_images
from dualclip_lightning.pairing import (
    GroupedScoring,
    OrderedView,
    PatchPrediction,
    image_names,
    neighbour_references,
    random_groups,
)

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object


class PairingMixin(Base):
    """Mixin: each image of a test or predict run gets its references from the seed and the set of images.

    The method's `model` offers `predict_patches(images, references, names)` and `set_references(images, names)`, the
    shell has `seed`, `num_references` and `reference_dir`.
    """

    model: Any
    seed: int
    num_references: int
    reference_dir: str | Path | None
    _scoring: Sequence[GroupedScoring | None] = ()

    def _pair_images(self, stage: str) -> None:
        """Draw the groups of every data set of this run and let their members share batches."""
        self._scoring = ()
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(datamodule, "test_data"):
            datamodule.test_data, scoring = self._grouped(datamodule.test_data, stage)
            self._scoring = (scoring,)
            return
        source = _data_source(self.trainer, stage)
        loaders = getattr(source, "instance", None)
        if isinstance(loaders, DataLoader):
            loaders = [loaders]
        if isinstance(loaders, list) and all(isinstance(loader, DataLoader) for loader in loaders):
            pairs = [self._grouped(loader.dataset, stage) for loader in loaders]
            source.instance = [_with_dataset(loader, view) for loader, (view, _) in zip(loaders, pairs, strict=True)]
            self._scoring = tuple(scoring for _, scoring in pairs)

    def teardown(self, stage: str) -> None:
        """Give the datamodule its own data set back."""
        super().teardown(stage)
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        data = getattr(datamodule, "test_data", None)
        if isinstance(data, OrderedView):
            datamodule.test_data = data.dataset

    def on_test_start(self) -> None:
        """Encode the reference folder, if there is one."""
        super().on_test_start()
        self._read_references()

    def on_predict_start(self) -> None:
        """As `on_test_start`."""
        super().on_predict_start()
        self._read_references()

    def _grouped(self, dataset: Dataset, stage: str) -> tuple[Dataset, GroupedScoring | None]:
        """A data set in the order of its groups, and what scores them (None with a reference folder).

        It comes back as it is if it does not name its images.
        """
        if isinstance(dataset, OrderedView):  # left over from a run that broke off
            dataset = dataset.dataset
        names = image_names(dataset)
        if names is None:
            logger.warning("The data set does not tell the paths of its images: each batch is paired in itself.")
            return dataset, None
        kept = range(len(names)) if stage == "test" else _readable(names)
        if self.reference_dir is not None:
            return OrderedView(dataset, kept, self._geometry()), None
        if len(kept) <= self.num_references:
            logger.warning(
                "%d image(s) cannot give %d reference(s) each; there will be %d.",
                len(kept), self.num_references, len(kept) - 1,
            )  # fmt: skip
        drawn = random_groups([names[i] for i in kept], self.num_references, self.seed)
        groups = [tuple(kept[i] for i in group) for group in drawn]
        view = OrderedView(dataset, [member for group in groups for member in group], self._geometry())
        scoring = GroupedScoring(
            names, groups, self.num_references, lambda i: self._prepare(view.load(i).image), self.model.predict_patches
        )
        return view, scoring

    def _predict_paired(self, batch: Any, dataloader_idx: int = 0) -> PatchPrediction:
        """Scores and patch maps of a batch, wherever its images' references are."""
        scoring = self._scoring[dataloader_idx] if self._scoring else None
        names = [] if batch.image_path is None else [str(path) for path in batch.image_path]
        if scoring is not None and names:
            return scoring(names, batch.image)
        references = None
        if self.reference_dir is None and len(batch.image) > 1:
            references = neighbour_references(len(batch.image), self.num_references).to(batch.image.device)
        return self.model.predict_patches(batch.image, references, names)

    def _read_references(self) -> None:
        """Encode every readable image of the reference folder; those that are not are named and left out.

        Raises:
            ValueError: no folder, or no readable image in it.
        """
        if self.reference_dir is None:
            return
        folder = Path(self.reference_dir)
        names = [str(path) for path in sorted(folder.rglob("*")) if is_image_file(path)]
        names = [names[i] for i in _readable(names)] if names else []
        if not names:
            msg = f"Expected reference_dir to be a folder with at least one readable image, but '{folder}' has none."
            raise ValueError(msg)
        images = torch.stack([self._prepare(self._geometry()(read_rgb(name))) for name in names])
        self.model.set_references(images.to(self.device), names)

    def _geometry(self) -> Transform:
        """The resizing part of the pre-processor."""
        transform = getattr(self.pre_processor, "transform", None)
        parts = getattr(transform, "transforms", [transform])
        return Compose([part for part in parts if isinstance(part, Resize | CenterCrop)] or [torch.nn.Identity()])

    def _prepare(self, image: Tensor) -> Tensor:
        transform = getattr(self.pre_processor, "transform", None)
        return image if transform is None else transform(image)

    def _category(self) -> str | None:
        return getattr(getattr(self.trainer, "datamodule", None), "category", None)


def _readable(names: Sequence[str]) -> list[int]:
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
