"""What a benchmark runs, read from YAML and checked by name before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dualclip_lightning.benchmark import catalogue
from dualclip_lightning.benchmark.errors import ConfigError


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


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and check it.

    Args:
        path: the YAML file.
        overrides: "key.key=value" each, in the place of what the file says.

    Raises:
        ConfigError: no such file, or names or values that cannot be meant.
    """
    loaded = read_yaml(path)
    for override in overrides:
        _override(loaded, override)
    try:
        loaded.setdefault("name", Path(path).stem)
        content = OmegaConf.to_container(loaded, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    return parse_config(cast("dict[str, Any]", content))


def read_yaml(path: Path | str) -> DictConfig:
    """Read a YAML file of keys and values.

    Raises:
        ConfigError: no such file, no YAML, or YAML of another kind.
    """
    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        msg = f"The configuration '{path}' cannot be read: {error.strerror or error}."
        raise ConfigError(msg) from error
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        msg = f"Expected '{path}' to be valid YAML, but it is not: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    if not isinstance(loaded, DictConfig):
        msg = f"Expected '{path}' to hold keys and values, but it holds a {type(loaded).__name__}."
        raise ConfigError(msg)
    return loaded


def parse_config(content: Mapping[str, Any]) -> Config:
    """A configuration from plain data, checked.

    Raises:
        ConfigError: as `load_config`.
    """
    from dualclip_lightning.benchmark import checks  # noqa: PLC0415  # which needs the classes below

    _complain(checks.layout_problems(content))
    filled = {**content, "methods": _filled(content["methods"]), "datasets": _filled(content["datasets"])}
    try:
        config = cast("Config", OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), filled)))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    _complain(checks.problems(config))
    return config


def categories_of(settings: DataSettings, label: str) -> list[str]:
    """The categories that a data set of the configuration asks for."""
    known = catalogue.categories(settings.data or label)
    return list(known) if settings.categories == catalogue.WHOLE else [str(name) for name in settings.categories]


def arguments_of(settings: MethodSettings, config: Config) -> dict[str, Any]:
    """The arguments of a method: the common ones, which models of anomalib do not have, and its own over them."""
    common = {} if settings.model in catalogue.TRAINED else config.arguments
    return {**common, **settings.arguments}


def _override(loaded: DictConfig, override: str) -> None:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        msg = f"Expected an override such as seeds=[0,1], but got {override!r}."
        raise ConfigError(msg)
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={override[len(key) + 1 :]}"]))
        value = cast("dict[str, Any]", parsed)["value"]
        # Not merged: {Demo: {}} replaces the data sets of the file.
        OmegaConf.update(loaded, key, value, merge=False, force_add=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        msg = f"Expected the override {override!r} to be KEY=VALUE with a value in YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _filled(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Labels are texts, and "Demo:" with nothing after it means all defaults."""
    return {str(label): {} if entry is None else entry for label, entry in entries.items()}


def _complain(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise ConfigError("\n".join(found))
