"""The code of a method: where its class is defined, in which version, and a digest if it may change between runs."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path
from typing import Any

from dualclip_lightning.benchmark.plan.methods import ENTRY_POINTS
from dualclip_lightning.utilities.files import files_digest

VERSIONED = ("dualclip_lightning", "anomalib")
"""Packages whose versions are part of every key, and whose code is not read."""


def class_path(owner: type) -> str:
    """Return the dotted path of a class."""
    return f"{owner.__module__}.{owner.__qualname__}"


def package(owner: type) -> str:
    """Return name and version of the package of a class, or the path of its module if no package is installed."""
    top = owner.__module__.partition(".")[0]
    names = [top] if top in VERSIONED else [*_offering(top), *_distributions().get(top, [])]
    return f"{names[0]} {version(names[0])}" if names else str(_home(top) or top)


def source_digest(owner: type) -> str | None:
    """Return a digest of the modules of the top-level package of a class; None for this package and anomalib.

    Results of a method under development are thus computed anew after its code has changed. What it imports from other
    packages does not count.
    """
    top = owner.__module__.partition(".")[0]
    home = None if top in VERSIONED else _home(top)
    if home is None:
        return None
    files = home.rglob("*.py") if home.is_dir() else [home]
    return files_digest({path.relative_to(home.parent).as_posix(): path for path in files})


@cache
def _distributions() -> Any:
    return packages_distributions()


def _offering(top: str) -> list[str]:
    """Return the distributions that offer methods of a package, also if they are installed in place."""
    offered = entry_points(group=ENTRY_POINTS)
    return [each.dist.name for each in offered if each.dist is not None and each.module.partition(".")[0] == top]


def _home(top: str) -> Path | None:
    """Return the folder of a package, or the file of a module; None if it has none."""
    module: Any = sys.modules.get(top)
    folders = list(getattr(module, "__path__", ()))
    file = folders[0] if folders else getattr(module, "__file__", None)
    return None if file is None else Path(file)
