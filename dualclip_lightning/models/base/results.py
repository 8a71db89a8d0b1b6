"""Results of a run: their folder, the content of a checkpoint, and values as plain data."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalib.utils.path import create_versioned_dir
from torch import nn


def drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """State-dict hook that removes every parameter of `module` without gradient; the constructor loads these again."""
    del metadata
    for name, parameter in module.named_parameters(remove_duplicate=False):  # two encoders may share a tower
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def link_latest(root: Path, name: str) -> None:
    """Make the folder `latest` of anomalib's Engine a link to a new version, unless it is a link already.

    The Engine tests into `latest` without creating it; training replaces it by a link to a version and fails if it is a
    folder. The content of such a folder becomes the version. On a system without links it stays a plain folder.

    Args:
        root: folder for the results of a run.
        name: name of the model in the Engine's path; other folders called latest are not changed.
    """
    if root.name != "latest" or name not in root.parts or root.is_symlink():
        return
    with contextlib.suppress(OSError):
        before = root.rename(root.with_name("latest.before")) if root.is_dir() else None
        version = create_versioned_dir(root.parent)
        if before is not None:
            version.rmdir()
            before.rename(version)


def plain(value: Any) -> Any:
    """Convert a value to plain data for JSON and YAML."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
