"""Choice of the folder that a run writes to: a new one, unless it continues a run with the same request."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from dualclip_lightning.predict.output.journal import Stamp, file_stamp, read_journal
from dualclip_lightning.utilities.record import as_read, read_record

WORK = ".work"
"""Subfolder of a run's folder with the data from which a later run continues."""


@dataclass(frozen=True)
class Request:
    """The request for a run, by which the run is recognised later.

    Args:
        options: options of the command, as plain data, without those that change no result.
        settings: settings on which the scores depend, as plain data.
        stamps: the state of every image by name, including those believed good; None if it cannot be determined.
    """

    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    stamps: Mapping[str, Stamp | None]

    @property
    def digest(self) -> str:
        """SHA-256 of the images' names and states."""
        return sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()


class Place(NamedTuple):
    """The folder that a run writes to."""

    folder: Path
    former: Path | None
    """Folder of a run whose scores it may take over."""


def make_request(options: Mapping[str, Any], settings: Mapping[str, Any], paths: Sequence[Path]) -> Request:
    """Return the request in a form that can be compared with one read from a file."""
    return Request(as_read(options), as_read(settings), {str(path): file_stamp(path) for path in paths})


def choose_place(wanted: Path, request: Request, *, fresh: bool = False) -> Place:
    """Return the folder for a run: `wanted`, or the same name with a number if that is taken; create it if missing.

    A run is continued if its request was the same and every image that it scored still exists in the same state; a
    finished run must also have had exactly the same images. Otherwise the run gets a new folder, so that no result of
    another run changes. It may take over the scores of the latest run with the same settings, if it includes all images
    of that run, because the references of an image depend on the images of a run.

    Args:
        wanted: the folder as the user named it.
        request: the request for the run.
        fresh: if True, neither continue a run nor take over scores.

    Raises:
        ValueError: If the folder has no name of its own, such as . or ..
        OSError: If the folder cannot be created.
    """
    if wanted.name in {"", ".."}:
        msg = f"Expected --out to name a folder, which is created, but got '{wanted}'."
        raise ValueError(msg)
    runs = _numbered(wanted)
    if not fresh:
        for folder in reversed(runs.values()):
            if _continues(folder, request):
                return Place(folder, None)
    former = None if fresh else next((f for f in reversed(runs.values()) if _gives_scores(f, request)), None)
    return Place(_create(wanted, max(runs, default=0)), former)


def _numbered(wanted: Path) -> dict[int, Path]:
    """Return the existing ones of the folder and its numbered siblings, by number in ascending order."""
    pattern = re.compile(rf"{re.escape(_stem(wanted))}([1-9]\d*)")
    siblings = list(wanted.parent.iterdir()) if wanted.parent.is_dir() else []
    matches = {path: pattern.fullmatch(path.name) for path in siblings}
    found = {int(match[1]): path for path, match in matches.items() if match is not None}
    if os.path.lexists(wanted):
        found[1] = wanted
    return {number: found[number] for number in sorted(found)}


def _stem(wanted: Path) -> str:
    """Return the name to which numbers are appended, separated from a final digit by a hyphen."""
    return f"{wanted.name}-" if wanted.name[-1].isdigit() else wanted.name


def _create(wanted: Path, taken: int) -> Path:
    """Create an empty folder with the next number, or return the wanted one if it is empty."""
    if taken <= 1 and wanted.is_dir() and not any(wanted.iterdir()):
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    while True:  # another run may have taken the number in the meantime
        folder = wanted if taken == 0 else wanted.with_name(f"{_stem(wanted)}{taken + 1}")
        try:
            folder.mkdir()
        except FileExistsError:
            taken += 1
        else:
            return folder


def _continues(folder: Path, request: Request) -> bool:
    record = read_record(folder)
    if record is None or record.get("options") != request.options:
        return False
    if record.get("finished") is not None and record.get("digest") != request.digest:
        return False
    settings, entries = read_journal(folder / WORK / "images")
    unchanged = all(request.stamps.get(entry.name) == entry.stamp for entry in entries.values())
    return unchanged and settings in (None, request.settings)


def _gives_scores(folder: Path, request: Request) -> bool:
    if read_record(folder) is None:
        return False
    settings, entries = read_journal(folder / WORK / "images")
    return settings == request.settings and entries.keys() <= request.stamps.keys()
