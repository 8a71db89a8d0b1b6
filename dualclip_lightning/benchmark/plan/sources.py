"""Code and files of a method: where its class is defined, in which version, and digests of what may change."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path
from typing import Any

from dualclip_lightning.backbone.checkpoints.choosing import DEMO, DEMO_FOLDER, RANDOM
from dualclip_lightning.benchmark.plan.methods import ENTRY_POINTS
from dualclip_lightning.utilities.files import files_digest
from dualclip_lightning.utilities.versions import versions

PATHS = ("pretrained", "reference_dir", "textures", "checkpoint")
"""Arguments that may be a file or folder, whose content is then part of the key."""
FOLDERS = {DEMO: DEMO_FOLDER}
"""Folders of weights that are known by a name."""
VERSIONED = ("dualclip_lightning", "anomalib")
"""Packages whose versions are part of every key, and whose code is not read."""


def class_path(owner: type) -> str:
    """Return the dotted path of a class."""
    return f"{owner.__module__}.{owner.__qualname__}"


def package(owner: type) -> str:
    """Return name and version of the package of a class, or the path of its module if no package is installed."""
    top = owner.__module__.partition(".")[0]
    names = [top] if top in VERSIONED else [*_offering(top), *_distributions().get(top, [])]
    return f"{names[0]} {versions(names[0])[names[0]]}" if names else str(_home(top) or top)


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


@cache
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


def file_digests(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a digest of the content of every file and folder among the arguments, including nested ones."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from file_digests(value)
        elif name in PATHS and isinstance(value, str | Path) and value != RANDOM:
            path = FOLDERS.get(str(value)) or Path(value).expanduser()
            if path.exists():
                yield name, _digest(path)


def _digest(path: Path) -> str:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return files_digest({str(file.relative_to(path)): file for file in files})
