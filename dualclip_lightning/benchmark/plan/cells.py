"""The cells of a benchmark, each one method on one category with one seed, and the keys of their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from dualclip_lightning.benchmark.names import slug
from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.auxiliary import training_data
from dualclip_lightning.benchmark.plan.methods import method_arguments, method_class
from dualclip_lightning.benchmark.plan.schema import (
    Config,
    DataSettings,
    MethodSettings,
    arguments_of,
    categories_of,
    class_name_of,
    masks_of,
)
from dualclip_lightning.benchmark.plan.sources import file_digests, source_digest
from dualclip_lightning.models.base import LIBRARIES
from dualclip_lightning.registry import first_name
from dualclip_lightning.utilities.versions import versions

LATER = ("kind", "k_shot", "trainer", "train_batch_size", "training", "trained_categories")
"""Fields that count only where they are set, so that results recorded before they existed remain valid."""
LABEL_LENGTH, DIGEST_LENGTH = 40, 12


@dataclass(frozen=True)
class Cell:
    """One method on one category with one seed."""

    method: str
    """Label of the method."""
    model: str
    arguments: Mapping[str, Any]
    checkpoint: str | None
    """Checkpoint with trained layers, for a method that has them."""
    dataset: str
    """Label of the data set."""
    data: str
    data_arguments: Mapping[str, Any]
    category: str
    class_name: str | None
    seed: int
    device: str
    """Device: "cpu" or "cuda"."""
    precision: str
    batch_size: int
    num_workers: int
    keep_maps: bool
    masks: str = "nearest"
    """Rule by which masks are resized."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Metrics in addition to the usual ones (`schema.Evaluation`)."""
    kind: str | None = None
    """Kind according to the configuration."""
    k_shot: int | None = None
    """Number of normal images for training; None for all."""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Settings of Lightning's Trainer for training."""
    train_batch_size: int | None = None
    """Batch size of training; None for that of the data."""
    training: Cell | None = None
    """Training on other data that has to be finished before; None if there is none."""
    trained_categories: tuple[str, ...] = ()
    """Categories of the data on which an auxiliary method is trained; empty for a test."""
    key: str = ""

    def datamodule(self) -> Any:
        """Return the cell's datamodule."""
        category = {"category": self.category} if catalogue.has_categories(self.data) else {}
        batches = {"eval_batch_size": self.batch_size, "num_workers": self.num_workers}
        made = catalogue.data_class(self.data)(**self.data_arguments, **category, **batches)
        if self.train_batch_size is not None:
            made.train_batch_size = self.train_batch_size  # not every constructor has it
        return made


def plan(config: Config) -> list[Cell]:
    """Return all cells of a benchmark by method, data set, category and seed in the order of the configuration."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return [
        _keyed(cell)
        for method, settings in config.methods.items()
        for dataset, data in config.datasets.items()
        for cell in _cells(config, device, (method, settings), (dataset, data))
    ]


def _cells(
    config: Config, device: str, method: tuple[str, MethodSettings], dataset: tuple[str, DataSettings]
) -> Iterator[Cell]:
    seeds = method[1].seeds or config.seeds
    trainings = {seed: _training(config, device, method, dataset[0], seed) for seed in seeds}
    for category in categories_of(dataset[1], dataset[0]):
        for seed in seeds:
            yield Cell(
                method=method[0], model=method[1].model,
                arguments=arguments_of(method[1], config, dataset[0], category),
                checkpoint=method[1].checkpoint, dataset=dataset[0], data=dataset[1].data or dataset[0],
                data_arguments=catalogue.split(dataset[1].data or dataset[0]) | dataset[1].arguments,
                category=category, class_name=class_name_of(dataset[1], category), seed=seed, device=device,
                precision=config.precision, batch_size=config.batch_size, num_workers=config.num_workers,
                masks=masks_of(method[1], config, dataset[0]), evaluation=asdict(config.evaluation),
                kind=method[1].kind, k_shot=method[1].k_shot, trainer=method[1].trainer,
                train_batch_size=method[1].train_batch_size, training=trainings[seed],
                keep_maps=config.keep_maps == "all" or (config.keep_maps == "first" and seed == seeds[0]),
            )  # fmt: skip


def _training(config: Config, device: str, method: tuple[str, MethodSettings], dataset: str, seed: int) -> Cell | None:
    """Return the training of an auxiliary method before it is tested on a data set; None without `train_on`."""
    label, settings = method
    data = training_data(settings, config, dataset)
    if data is None:
        return None
    categories = categories_of(DataSettings(data.data, data.arguments, data.categories), data.data)
    return _keyed(Cell(
        method=f"{label}, training", model=settings.model,
        arguments={**arguments_of(settings, config), **data.method_arguments}, checkpoint=None, dataset=data.data,
        data=data.data, data_arguments=catalogue.split(data.data) | data.arguments, category=categories[0],
        class_name=None, seed=seed, device=device, precision=config.precision, batch_size=config.batch_size,
        num_workers=config.num_workers, keep_maps=False, kind=settings.kind, trainer=settings.trainer,
        train_batch_size=settings.train_batch_size, trained_categories=tuple(categories),
    ))  # fmt: skip


def trainings_of(cells: Iterable[Cell]) -> list[Cell]:
    """Return the trainings that some cells need, each once."""
    return list({cell.training.key: cell.training for cell in cells if cell.training is not None}.values())


def _keyed(cell: Cell) -> Cell:
    # A training is the same for all methods and data sets that need it, whatever their labels.
    told = (
        ("training", cell.model, cell.data) if cell.trained_categories else (cell.method, cell.dataset, cell.category)
    )
    labels = [slug(text)[:LABEL_LENGTH] for text in told]
    digest = hashlib.sha256(json.dumps(identity(cell), sort_keys=True, default=str).encode()).hexdigest()
    return Cell(**{**vars(cell), "key": "-".join([*labels, f"s{cell.seed}", digest[:DIGEST_LENGTH]])})


def identity(cell: Cell) -> dict[str, Any]:
    """Return everything that determines the numbers of a cell, as plain data.

    This includes defaults of arguments, the content of files and folders of the method, and the versions of libraries.
    Images of the data set are represented only by their path; the digest of their content is a result. Batches and
    loaders are excluded, because no score depends on them, as the tests of every method check.
    """
    left_out = {"key", "batch_size", "num_workers", "keep_maps"} | {name for name in LATER if not getattr(cell, name)}
    if cell.trained_categories:
        left_out |= {"method", "dataset", "category", "masks", "evaluation"}
    described = {name: value for name, value in vars(cell).items() if name not in left_out}
    if cell.training is not None:
        described["training"] = cell.training.key
    described["model"] = first_name(cell.model)  # so that results recorded under it count
    described["arguments"] = method_arguments(cell.model) | dict(cell.arguments)
    described["data_arguments"] = catalogue.data_arguments(cell.data) | dict(cell.data_arguments)
    described["files"] = dict(file_digests({**cell.arguments, "checkpoint": cell.checkpoint}))
    described["versions"] = libraries()
    source = source_digest(method_class(cell.model))
    return described if source is None else described | {"source": source}


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect scores."""
    return versions(*LIBRARIES, "timm")
