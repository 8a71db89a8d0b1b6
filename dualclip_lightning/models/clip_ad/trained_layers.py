"""Layers that were trained on the images of another data set: the record of their training, and what it rules out."""

from __future__ import annotations

import logging
from typing import Any

from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.models.base import ZeroShotShell
from dualclip_lightning.models.clip_ad.training_settings import HOW, TrainingSettings

logger = logging.getLogger(__name__)

RECORD = "auxiliary_training"
"""Key of a checkpoint with the training data of its layers and the tower that they fit."""


class TrainedShell(ZeroShotShell):
    """Shell of a method with trained layers, if `training_settings` are set.

    A checkpoint holds the trained layers, without the optimiser, and records their training data. Untrained layers are
    refused, and so is a test on the training data.
    """

    model: Any
    training_settings: TrainingSettings | None = None
    trained_on: tuple[dict[str, Any], ...] = ()
    """One record for each training of the layers; empty if they are untrained."""

    def on_test_start(self) -> None:
        """Refuse untrained layers and a test on the training images, and warn about a test on their data set.

        Raises:
            ValueError: the layers are untrained, or were trained on these images.
        """
        super().on_test_start()
        self._require_training()
        name, category = self._data_identity()
        if self._seen():
            msg = (
                f"The layers were trained on these images ('{category or name}' of {name}), so their scores mean "
                "nothing here. Test on another data set, or train on another."
            )
            raise ValueError(msg)
        if name and name in {record["dataset"] for record in self.trained_on}:
            logger.warning("The layers were trained on other categories of %s; the paper trains on another set.", name)

    def on_predict_start(self) -> None:
        """Refuse untrained layers.

        Raises:
            ValueError: untrained layers.
        """
        super().on_predict_start()
        self._require_training()

    def on_validation_start(self) -> None:
        """Refuse untrained layers, unless the validation is part of training.

        Raises:
            ValueError: untrained layers.
        """
        super().on_validation_start()
        if self.trainer.validating:
            self._require_training()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the training data and the tower of the layers; remove the optimiser, which is twice their size."""
        super().on_save_checkpoint(checkpoint)
        if self.training_settings is not None:
            checkpoint["optimizer_states"] = []
            checkpoint[RECORD] = {"trained_on": list(self.trained_on), "fits": self._fits()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the record of the training data.

        Raises:
            ValueError: the checkpoint has no trained layers, or layers for another tower or other stages.
        """
        super().on_load_checkpoint(checkpoint)
        record = checkpoint.get(RECORD)
        if self.training_settings is None:
            if record is not None:
                logger.warning("The checkpoint holds trained layers, which variant='sdp' leaves out. Set 'sdp+'.")
            return
        if record is None:
            msg = "The checkpoint holds no trained layers. Give one that training with variant='sdp+' wrote."
            raise ValueError(msg)
        if record["fits"] != self._fits():
            msg = (
                f"The trained layers of the checkpoint fit {record['fits']}, but this method has {self._fits()}. "
                "Set backbone, pretrained and stages as they were in training."
            )
            raise ValueError(msg)
        self.trained_on = tuple(record["trained_on"])

    def provenance(self) -> dict[str, Any]:
        """Return the provenance of every method, with the layers and their training."""
        known = super().provenance()
        if self.training_settings is None:
            return known
        told_by_record = {*HOW, "auxiliary_categories"} if self.trained_on else set()
        return known | {
            "parameters": {name: value for name, value in known["parameters"].items() if name not in told_by_record},
            "trained_on": list(self.trained_on),
            "layers_sha256": weights_digest(self.model.trained_layers),
        }

    def unexportable(self) -> str | None:
        """See `ExportMixin`."""
        untrained = self.training_settings is not None and not self.trained_on
        return "its layers are not trained; train them, or set variant to sdp" if untrained else super().unexportable()

    def _fits(self) -> dict[str, Any]:
        """Return the tower and stages that trained layers belong to."""
        return {"weights_sha256": self.backbone.digest, "stages": list(self.model.encoder.stages)}

    def _require_training(self) -> None:
        if self.training_settings is not None and not self.trained_on:
            msg = (
                "The layers of variant='sdp+' are not trained. Train them on another, labelled data set with "
                "'anomalib train --model ClipAD --model.variant sdp+ --data ...', then test with --ckpt_path."
            )
            raise ValueError(msg)

    def _data_identity(self, dataset: Any = None) -> tuple[str, str]:
        """Return the name and category of the data of this run."""
        source = getattr(self.trainer, "datamodule", None)
        if source is None and dataset is None:
            loaders = self.trainer.test_dataloaders
            dataset = getattr(loaders[0] if isinstance(loaders, list) and loaders else loaders, "dataset", None)
        source = dataset if source is None else source
        return str(getattr(source, "name", "") or ""), str(getattr(source, "category", "") or "")

    def _seen(self) -> bool:
        """Return whether the layers were trained on the images of this test, by names of data set and category."""
        name, category = self._data_identity()
        records = [record for record in self.trained_on if name and record["dataset"] == name]
        return any(category in record["categories"] for record in records)
