"""`run.json`: what was asked of a run and what became of it. A folder that has one is known as a run's results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualclip_lightning.files import write_bytes_atomically

NAME = "run.json"
FORMAT = "dualclip predict"
"""Under "format" in the file: tells it from a `run.json` of somebody else."""


def write_record(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a run.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps({"format": FORMAT, **content}, indent=2, default=str)
    write_bytes_atomically(folder / NAME, f"{text}\n".encode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in a folder, or None if there is none."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def is_inside_run(path: Path) -> bool:
    """Whether a file lies among the results of a run."""
    return any(read_record(parent) is not None for parent in path.parents)
