"""Reading of a benchmark's configuration from YAML, with checks before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dualclip_lightning.benchmark.plan import checks
from dualclip_lightning.benchmark.plan.errors import ConfigError
from dualclip_lightning.benchmark.plan.methods import canonical_name
from dualclip_lightning.benchmark.plan.schema import Config


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and check it.

    Args:
        path: the YAML file.
        overrides: replacements of values of the file, each "key.key=value".

    Raises:
        ConfigError: the file does not exist, or has invalid names or values.
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
        ConfigError: the file does not exist, is not YAML, or is not a mapping.
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
    """Check plain data and convert it to a configuration.

    Raises:
        ConfigError: as in `load_config`.
    """
    _complain(checks.layout_problems(content))
    filled = {**content, "methods": _renamed(_filled(content["methods"])), "datasets": _filled(content["datasets"])}
    try:
        config = cast("Config", OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), filled)))
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    _complain(checks.problems(config))
    return config


def _override(loaded: DictConfig, override: str) -> None:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        msg = f"Expected an override such as seeds=[0,1], but got {override!r}."
        raise ConfigError(msg)
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={override[len(key) + 1 :]}"]))
        value = cast("dict[str, Any]", parsed)["value"]
        # Replace instead of merge, so that {Demo: {}} removes the data sets of the file.
        OmegaConf.update(loaded, key, value, merge=False, force_add=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        msg = f"Expected the override {override!r} to be KEY=VALUE with a value in YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _filled(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Convert labels to texts, and entries without a value, such as "Demo:", to all defaults."""
    return {str(label): {} if entry is None else entry for label, entry in entries.items()}


def _renamed(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Return the methods with the names under which their models are listed."""
    return {label: entry | {"model": canonical_name(str(entry["model"]))} for label, entry in methods.items()}


def _complain(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise ConfigError("\n".join(found))
