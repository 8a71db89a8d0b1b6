"""anomalib's Engine for a cell: without validation and files, and with the cell's own settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.engine import Engine
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.methods import method_class
from dualclip_lightning.benchmark.run.recorder import data_root, labelled_files
from dualclip_lightning.images.masks import check_rule
from dualclip_lightning.models.base import ZeroShotShell
from dualclip_lightning.models.references import normal_images
from dualclip_lightning.models.references.data import geometry_of, ordered_dataset
from dualclip_lightning.pairing import image_names
from dualclip_lightning.utilities.files import files_digest


class CellEngine(Engine):
    """Engine whose arguments override the `trainer_arguments` of a model, which usually override those of the Engine.

    Otherwise a model that asks for one device would get the first one, and one that asks for validation the labels.

    Args:
        **settled: arguments of anomalib's Engine.
    """

    def __init__(self, **settled: Any) -> None:
        super().__init__(**settled)
        self._settled = settled

    def _setup_trainer(self, model: Any) -> None:
        given = {name: value for name, value in self._settled.items() if name not in {"callbacks", "default_root_dir"}}
        asked: Any = SimpleNamespace(
            trainer_arguments={**model.trainer_arguments, **given},
            checkpoint_safe_globals=model.checkpoint_safe_globals,
        )
        super()._setup_trainer(asked)


def make_engine(cell: Cell, device: torch.device, folder: Path, *callbacks: Callback) -> Engine:
    """Return an Engine without validation, which would take thresholds from labels, and without output files."""
    ordered = [] if issubclass(method_class(cell.model), ZeroShotShell) else [OrderedTestSet(cell.masks)]
    return CellEngine(
        default_root_dir=folder,
        logger=False,
        callbacks=[*ordered, *callbacks, ModelCheckpoint(dirpath=folder, save_top_k=0)],
        **cell.trainer,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index] if device.type == "cuda" else 1,
        precision=cell.precision,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit_on_normal_images(engine: Engine, model: Any, datamodule: Any, cell: Cell) -> list[str] | None:
    """Train a method on the normal images of its category.

    Returns:
        The paths of the images of few-shot training, which are drawn with the seed as WinCLIP+ draws them; else None.

    Raises:
        ValueError: there are too few training images.
    """
    drawn = None
    datamodule.prepare_data()
    datamodule.setup(TrainerFn.FITTING)
    names = image_names(getattr(datamodule, "train_data", None)) or []
    if not names:
        raise ValueError(no_training_images(cell))
    if cell.k_shot:
        drawn = normal_images(cell.k_shot, cell.seed, None, datamodule)
        rows = [place for place, name in enumerate(names) if name in set(drawn)]
        datamodule.train_data = datamodule.train_data.subsample(rows)
    engine.fit(model=model, datamodule=datamodule)
    return drawn


class Trained(NamedTuple):
    """An auxiliary method after its training."""

    model: Any
    checkpoint: bytes
    images: int
    """Number of labelled images."""
    images_digest: str
    root: str | None
    """Folder of the images."""


def train_on_other_data(engine: Engine, model: Any, cell: Cell, path: Path) -> Trained:
    """Train an auxiliary method on the labelled test images of several categories, by its `fit_auxiliary`.

    Args:
        engine: Engine without validation.
        model: the method.
        cell: the training.
        path: temporary file for the checkpoint.
    """
    categories = [replace(cell, category=name).datamodule() for name in cell.trained_categories]
    for datamodule in categories:
        datamodule.prepare_data()
        datamodule.setup(TrainerFn.FITTING)
    model.fit_auxiliary(engine, categories)
    engine.trainer.save_checkpoint(path, weights_only=True)
    root = data_root(categories[0])
    files = dict(found for datamodule in categories for found in labelled_files(datamodule.test_data, root))
    images = sum(len(datamodule.test_data) for datamodule in categories)
    return Trained(model, path.read_bytes(), images, files_digest(files), root)


def no_training_images(cell: Cell) -> str:
    """Return the message for a category without normal images to train on."""
    where = cell.dataset if cell.category == "all" else f"{cell.dataset} {cell.category}"
    return f"{where} has no normal images to train on, which {cell.method} needs. Add some, or take one of the two out."


class OrderedTestSet(Callback):
    """Callback that resizes the test set of methods without this package's shell as those with it do."""

    def __init__(self, masks: str) -> None:
        self.masks = check_rule(masks)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Replace the test set of the datamodule."""
        if stage == "test":
            data = trainer.datamodule.test_data
            geometry = geometry_of(pl_module.pre_processor)
            trainer.datamodule.test_data = ordered_dataset(data, range(len(data)), geometry, self.masks)
