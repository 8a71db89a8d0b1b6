"""What a benchmark's configuration can hold, by key, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dualclip_lightning.benchmark.plan import catalogue


@dataclass
class MethodSettings:
    """One row of the tables."""

    model: str
    """Registered name."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor; they take the place of the common ones."""
    seeds: list[int] | None = None
    """Instead of the run's; one is enough for a method that leaves nothing to chance."""
    checkpoint: str | None = None
    """What `anomalib train` left of a method with trained layers (CLIP-AD's SDP+)."""
    masks: str | None = None
    """Instead of the run's; figures of another rule are marked."""


@dataclass
class Evaluation:
    """What is measured beside the metrics that every run has. Each protocol has columns of its own."""

    pro_limits: list[float] = field(default_factory=list)
    """False-positive rates to which PRO integrates, beside 0.3."""
    pro_200: bool = False
    """PRO as AnoCLIP's, CLIP-AD's and MuSc's released codes compute it."""
    aupimo: bool = False
    """anomalib's AUPIMO."""
    ap_trapezoid: bool = False
    """AP of images as AnoCLIP's released code computes it."""
    threshold: str | None = None
    """A label-free threshold at which the F1 of images is taken: "run", that of `dualclip predict` for a whole run."""
    bootstrap: int = 0
    """Resamplings of the images for intervals of every metric; 0 for none."""


@dataclass
class DataSettings:
    """One data set."""

    data: str | None = None
    """Name of the datamodule; None takes the key under which the data set stands."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor, for example the root."""
    categories: Any = catalogue.WHOLE
    """"all" or a list."""
    class_name: str | None = None
    """What the images show, for a data set without categories; methods may have their own."""


@dataclass
class Config:
    """A whole benchmark: methods x data sets x categories x seeds."""

    methods: dict[str, MethodSettings]
    """Settings by the label that tables show."""
    datasets: dict[str, DataSettings]
    """Settings by the label that tables show."""
    name: str = "benchmark"
    arguments: dict[str, Any] = field(default_factory=dict)
    """Common to all methods of this package, for example the weights."""
    seeds: list[int] = field(default_factory=lambda: [0])
    device: str = "auto"
    """"auto" is a GPU if there is one."""
    precision: str = "32-true"
    """Lightning's name."""
    batch_size: int = 8
    """Images at once; no score depends on it."""
    num_workers: int = 0
    """Processes that load images, for each run."""
    masks: str = "nearest"
    """How masks come to the size of the maps, for every method (`dualclip_lightning.images.masks`)."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """What is measured beside the usual metrics."""
    keep_maps: str = "none"
    """"first" keeps the maps of every method's first seed, which the report draws, "all" those of every seed."""


def categories_of(settings: DataSettings, label: str) -> list[str]:
    """The categories that a data set of the configuration asks for."""
    known = catalogue.categories(settings.data or label)
    return list(known) if settings.categories == catalogue.WHOLE else [str(name) for name in settings.categories]


def arguments_of(settings: MethodSettings, config: Config) -> dict[str, Any]:
    """The arguments of a method: the common ones, which models of anomalib do not have, and its own over them."""
    common = {} if settings.model in catalogue.TRAINED else config.arguments
    return {**common, **settings.arguments}
