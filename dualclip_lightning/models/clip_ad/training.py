"""Training of a few layers of a method on labelled images of another data set."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, ClassVar, cast

import torch
from anomalib import LearningType
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.utils.data import DataLoader

from dualclip_lightning.data.labelled import labelled_parts, no_masks
from dualclip_lightning.models.base.provenance import write_provenance
from dualclip_lightning.models.clip_ad.trained_layers import TrainedShell
from dualclip_lightning.models.clip_ad.training_settings import TrainingSettings
from dualclip_lightning.models.references.data import geometry_of, ordered_dataset
from dualclip_lightning.pairing import image_names
from dualclip_lightning.utilities.seeding import derive_seed

logger = logging.getLogger(__name__)


class AuxiliaryShell(TrainedShell):
    """Shell with training: `fit` trains `model.trained_layers` on the test images of its data.

    anomalib's training images are all normal, so the labelled ones are those of the test split. The test that
    `anomalib train` appends is skipped, because it would be on the same images.

    The method's `model` has `loss(images, masks, anchors)` and `trained_layers`.
    """

    anchor_arguments: ClassVar[tuple[str, ...]] = ()
    """Arguments that determine the anchors; those of training may differ from those of a test."""
    _class_anchors: Tensor | None = None
    _class_of: dict[str, int]
    _sources: Sequence[Any] = ()
    """Datamodules of the categories in `fit_auxiliary`."""
    _fitted = False
    _test_limit: Any = None

    def fit_auxiliary(self, engine: Any, datamodules: Sequence[Any]) -> None:
        """Train the layers on the labelled test images of several categories.

        Args:
            engine: anomalib's Engine, without validation.
            datamodules: one datamodule for each category of the auxiliary data, with its data set up.

        Raises:
            ValueError: the method has no layers to train, or a category has no masks of defects.
        """
        if self.training_settings is not None:
            names = tuple(source.category for source in datamodules if getattr(source, "category", None))
            self.training_settings = replace(self.training_settings, categories=names or None)
        self._sources = datamodules
        try:
            engine.fit(model=self, datamodule=datamodules[0])
        finally:
            self._sources = ()

    @property
    def learning_type(self) -> LearningType:
        """Zero-shot, or one-class, which is anomalib's term, if the method trains."""
        return super().learning_type if self.training_settings is None else LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Disable validation, and set the number of epochs."""
        chosen = self.training_settings
        return super().trainer_arguments | ({} if chosen is None else {"max_epochs": chosen.epochs})

    def setup(self, stage: str) -> None:
        """Set up as the shell does, and prepare the labelled images and their anchors before training."""
        super().setup(stage)
        if stage == "fit":
            self._prepare_training()
        elif stage == "test" and self._fitted and self._seen():
            self._skip_test()

    def teardown(self, stage: str) -> None:
        """Restore datamodule and trainer."""
        super().teardown(stage)
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is not None:
            vars(datamodule).pop("train_dataloader", None)
        if self._test_limit is not None:
            self.trainer.limit_test_batches, self._test_limit = self._test_limit, None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam for the trained layers.

        Raises:
            ValueError: there are no trained layers.
        """
        if self.training_settings is None:
            msg = f"This {type(self).__name__} has nothing to train. Set variant='sdp+', or test it as it is."
            raise ValueError(msg)
        return torch.optim.Adam(self.model.trained_layers.parameters(), lr=self.training_settings.learning_rate)

    def training_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """Return the loss of a batch against its masks.

        Raises:
            ValueError: the images have no masks.
        """
        del batch_idx
        if batch.gt_mask is None:
            raise ValueError(no_masks("The training data"))
        rows = [self._class_of.get(str(path), 0) for path in batch.image_path or [""] * len(batch.image)]
        anchors = self.model.anchors[None] if self._class_anchors is None else self._class_anchors
        loss = self.model.loss(batch.image, batch.gt_mask, anchors.to(batch.image.device)[rows])
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch.image))
        return loss

    def on_train_start(self) -> None:
        """Record the data and settings of training."""
        super().on_train_start()
        dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        name, category = self._data_identity(dataset)
        chosen = cast("TrainingSettings", self.training_settings)  # without, there was no optimiser
        images = len(dataset) if dataset is not None else 0
        record = {
            "dataset": name, "categories": list(chosen.categories or [category]), "images": images,
            "epochs": self.trainer.max_epochs, "learning_rate": chosen.learning_rate, "seed": self.seed,
            **{name: self.hparams[name] for name in self.anchor_arguments},
        }  # fmt: skip
        if getattr(self.trainer, "datamodule", None) is not None:  # else the loader is not ours
            record |= {"batch_size": chosen.batch_size, "shuffle": chosen.shuffle}
        if record not in self.trained_on:
            self.trained_on += (record,)

    def on_fit_end(self) -> None:
        """Write `provenance.json` next to the checkpoint."""
        super().on_fit_end()
        self._fitted = True
        write_provenance(self)

    def _prepare_training(self) -> None:
        """Make the datamodule, if there is one, serve its labelled images, and keep the anchors of their classes."""
        self._class_of, self._class_anchors = {}, None
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        chosen = self.training_settings
        if datamodule is None or chosen is None:
            return
        parts, class_names = self._labelled(datamodule, chosen.categories)
        self._class_of = {name: row for row, part in enumerate(parts) for name in image_names(part) or ()}
        self._class_anchors = self._anchors_of(class_names)
        whole = copy.copy(reduce(add, parts))
        whole.augmentations = datamodule.train_augmentations
        ordered = ordered_dataset(whole, range(len(whole)), geometry_of(self.pre_processor), "nearest")
        order = torch.Generator().manual_seed(derive_seed(self.seed, "auxiliary data"))
        datamodule.train_dataloader = lambda: DataLoader(
            ordered, chosen.batch_size, shuffle=chosen.shuffle, generator=order,
            num_workers=datamodule.num_workers, collate_fn=ordered.collate_fn,
        )  # fmt: skip

    def _labelled(self, datamodule: Any, categories: Sequence[str] | None) -> tuple[list[Any], list[str] | None]:
        """Return the labelled images of each category and their names in prompts; None for the method's own name."""
        if self._sources:
            parts = [part for source in self._sources for part in labelled_parts(source.test_data, source.name)]
            return parts, [self._class_words_of(source) or "object" for source in self._sources]
        parts = labelled_parts(datamodule.test_data, datamodule.name, categories)
        return parts, None if categories is None else [self._class_words(name) for name in categories]

    def _anchors_of(self, class_names: Sequence[str] | None) -> Tensor | None:
        """Return the anchors [K, 2, D] of some names in prompts, and restore the method's own class afterwards."""
        if class_names is None:
            return None
        own, anchors = self.described_class, []
        for name in class_names:
            self.set_class_name(name)
            anchors.append(self.model.anchors)
        self.set_class_name(own or "object")
        return torch.stack(anchors)

    def _skip_test(self) -> None:
        """Skip the test that follows training on the same data."""
        path = getattr(self.trainer.checkpoint_callback, "best_model_path", "") or "the checkpoint"
        logger.warning(
            "The test on the data just trained on is left out, as its scores mean nothing. Test on another data set: "
            "anomalib test --model %s --model.variant sdp+ --ckpt_path %s --data ...", type(self).__name__, path,
        )  # fmt: skip
        self._test_limit, self.trainer.limit_test_batches = self.trainer.limit_test_batches, 0
