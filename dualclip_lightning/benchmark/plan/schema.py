"""Schema of a benchmark's configuration, with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.methods import common_arguments


@dataclass
class TrainingData:
    """Labelled data on which an auxiliary method is trained before it is tested on other data."""

    data: str
    """Label of a data set of the configuration, whose settings count unless others are given, or a datamodule."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of the datamodule's constructor."""
    categories: Any = None
    """"all" or a list; None for those of the data set of the configuration, or all."""
    method_arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of the method that differ in training."""


@dataclass
class DatasetSettings:
    """Settings that differ for one method on one data set."""

    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments that override those of the method."""
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments by category, which override all others."""
    masks: str | None = None
    """Rule in place of the method's."""
    train_on: TrainingData | None = None
    """Training data in place of the method's."""


@dataclass
class MethodSettings:
    """One row of the tables."""

    model: str
    """Registered name, name of a model of anomalib or of an entry point, or dotted path of a class."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor, which override the common ones."""
    seeds: list[int] | None = None
    """Seeds in place of the run's; one is enough for a deterministic method."""
    checkpoint: str | None = None
    """Checkpoint of `anomalib train` for a method with trained layers (CLIP-AD's SDP+)."""
    masks: str | None = None
    """Rule in place of the run's; figures with another rule are marked."""
    per_dataset: dict[str, DatasetSettings] = field(default_factory=dict)
    """Settings that differ on a data set, by the data set's label."""
    kind: str | None = None
    """What a score depends on, for a class that does not say so; None for what anomalib's learning type implies."""
    k_shot: int | None = None
    """Number of normal images, drawn with the seed, on which a method is trained; None for all of the category."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Settings of Lightning's Trainer for training, which override the method's own."""
    train_batch_size: int | None = None
    """Batch size of training; None for that of the data set."""
    train_on: TrainingData | None = None
    """Labelled data on which an auxiliary method is trained once per seed."""


@dataclass
class Evaluation:
    """Metrics in addition to those of every run. Each protocol has its own columns."""

    pro_limits: list[float] = field(default_factory=list)
    """False-positive rates to which PRO integrates, in addition to 0.3."""
    pro_200: bool = False
    """PRO as AnoCLIP's, CLIP-AD's and MuSc's released codes compute it."""
    aupimo: bool = False
    """anomalib's AUPIMO."""
    ap_trapezoid: bool = False
    """AP of images as AnoCLIP's released code computes it."""
    threshold: str | None = None
    """Label-free threshold at which the F1 of images is computed: "run", that of `dualclip predict` for a whole run."""
    bootstrap: int = 0
    """Number of resamplings of the images for intervals of every metric; 0 for none."""


@dataclass
class DataSettings:
    """One data set."""

    data: str | None = None
    """Name of the datamodule; None for the key of the data set."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor, such as the root."""
    categories: Any = catalogue.WHOLE
    """"all" or a list."""
    class_name: Any = None
    """Class name for all categories, or a mapping from categories to class names; methods may have their own."""


@dataclass
class Config:
    """A whole benchmark: methods x data sets x categories x seeds."""

    methods: dict[str, MethodSettings]
    """Settings by the label that tables show."""
    datasets: dict[str, DataSettings]
    """Settings by the label that tables show."""
    name: str = "benchmark"
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments common to all methods of this package, such as the weights, and to others that accept them."""
    seeds: list[int] = field(default_factory=lambda: [0])
    device: str = "auto"
    """"auto" is a GPU if there is one."""
    precision: str = "32-true"
    """Precision by Lightning's name."""
    batch_size: int = 8
    """Batch size; no score depends on it."""
    num_workers: int = 0
    """Number of processes that load images, for each run."""
    masks: str = "nearest"
    """Rule by which masks are resized to the size of the maps (`dualclip_lightning.images.masks`)."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """Metrics in addition to the usual ones."""
    keep_maps: str = "none"
    """"first" keeps the maps of every method's first seed, which the report draws, "all" those of every seed."""
    parquet: bool = False
    """Whether results.parquet and images.parquet are written beside the CSV files."""


def categories_of(settings: DataSettings, label: str) -> list[str]:
    """Return the requested categories of a data set."""
    if settings.categories != catalogue.WHOLE:
        return [str(name) for name in settings.categories]
    return list(catalogue.categories(settings.data or label, settings.arguments))


def arguments_of(settings: MethodSettings, config: Config, dataset: str = "", category: str = "") -> dict[str, Any]:
    """Return the arguments of a method: its own override the common ones (`methods.common_arguments`).

    Args:
        settings: the method.
        config: the benchmark.
        dataset: label of a data set, whose arguments override those of the method.
        category: category of the data set, whose arguments override those of the data set.
    """
    common = common_arguments(settings.model, config.arguments)
    special = settings.per_dataset.get(dataset, DatasetSettings())
    return {**common, **settings.arguments, **special.arguments, **special.categories.get(category, {})}


def masks_of(settings: MethodSettings, config: Config, dataset: str) -> str:
    """Return the rule by which masks are resized for a method on a data set."""
    return settings.per_dataset.get(dataset, DatasetSettings()).masks or settings.masks or config.masks


def class_name_of(settings: DataSettings, category: str) -> str | None:
    """Return the class name that a configuration gives to a category; None if it gives none."""
    given = settings.class_name
    return {str(name): value for name, value in given.items()}.get(category) if isinstance(given, dict) else given
