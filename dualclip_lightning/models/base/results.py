"""Results of a run: the content of a checkpoint, and values as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn


def drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """State-dict hook that removes every parameter of `module` without gradient; the constructor loads these again."""
    del metadata
    for name, parameter in module.named_parameters(remove_duplicate=False):  # two encoders may share a tower
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def plain(value: Any) -> Any:
    """Convert a value to plain data for JSON and YAML."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
