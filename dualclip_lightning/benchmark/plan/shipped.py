"""The configurations of the package, found by name in every installation."""

from __future__ import annotations

from pathlib import Path

from dualclip_lightning.benchmark.plan.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[2]


def config_folder() -> Path:
    """Return the folder of the configurations: inside an installed package, or next to the package in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def config_names(kind: str) -> list[str]:
    """Return the names of the configurations of one kind: "benchmark", "model" or "regression"."""
    return sorted(path.stem for path in (config_folder() / kind).glob("*.yaml"))


def find_config(given: Path | str, kind: str) -> Path:
    """Find a configuration: a file of the user, or a shipped one by its name or its path in a checkout.

    Args:
        given: for example ``my.yaml``, ``demo`` or ``configs/benchmark/demo.yaml``.
        kind: as in `config_names`.

    Raises:
        ConfigError: it does not exist; the message lists the names.
    """
    given, folder = Path(given), config_folder()
    for path in (given, folder / kind / f"{given}.yaml", folder.parent / given):
        if path.is_file():
            return path
    msg = f"Expected '{given}' to be a YAML file, or one of the shipped {', '.join(config_names(kind))}."
    raise ConfigError(msg)
