"""`run.json`: settings and outcome of a run, by which a folder is recognised as results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dualclip_lightning.utilities.files import write_bytes_atomically

NAME = "run.json"
FORMAT = "dualclip predict"
"""Value of "format" in the file, which distinguishes it from a `run.json` of other software."""
MARK = ".dualclip.json"
FORMAT_OF_MARK = "dualclip results"
"""Value of "format" in the marks of the benchmark and the demo, whose folders may contain other files, too."""


def now() -> str:
    """Return the date and time to the second, with the UTC offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def as_read(value: Any) -> Any:
    """Return a value as it is read back from JSON, where tuples are lists and keys are strings, for a comparison."""
    return json.loads(json.dumps(value, default=str))


def write_record(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a run.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps({"format": FORMAT, **content}, indent=2, default=str)
    write_bytes_atomically(folder / NAME, f"{text}\n".encode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in a folder, or None if there is none."""
    content = _read(folder / NAME)
    return content if content is not None and content.get("format") == FORMAT else None


def mark_results(folder: Path, names: Sequence[str]) -> None:
    """Mark the results that another of our commands writes to a folder, so that they are not scored as images.

    Args:
        folder: folder, which may contain other files, too.
        names: names of the files and folders that are written there.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps({"format": FORMAT_OF_MARK, "wrote": sorted({*names, *_marked(folder)})}, indent=2)
    write_bytes_atomically(folder / MARK, f"{text}\n".encode())


def written(folder: Path) -> frozenset[str] | None:
    """Return the names that our runs have written to a folder; None if the whole folder belongs to a run."""
    return None if read_record(folder) is not None else _marked(folder)


def _marked(folder: Path) -> frozenset[str]:
    content = _read(folder / MARK) or {}
    names = content.get("wrote") if content.get("format") == FORMAT_OF_MARK else None
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def results_around(path: Path) -> Path | None:
    """Return the results of a run to which a file or folder belongs by its real path, or None."""
    real = path.resolve()
    below = ""
    for folder in (real, *real.parents):
        names = written(folder)
        if names is None:
            return folder
        if below in names:
            return folder / below
        below = folder.name
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
