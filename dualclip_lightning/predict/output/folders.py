"""Which folder a run writes to: a new one, unless it continues a run that was asked for in the same way."""

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
from dualclip_lightning.utilities.record import read_record

WORK = ".work"
"""Below a run's folder: what a later run continues from."""


@dataclass(frozen=True)
class Request:
    """The request of a run, by which the same request is recognised later.

    Args:
        options: of the command, as plain data; without those that change no result.
        settings: what the scores depend on, as plain data.
        stamps: the state of every image by name, those believed good among them; None for one that cannot be looked
            up.
    """

    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    stamps: Mapping[str, Stamp | None]

    @property
    def digest(self) -> str:
        """SHA-256 of the images' names and states."""
        return sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()


class Place(NamedTuple):
    """Where a run writes."""

    folder: Path
    former: Path | None
    """A run whose scores it may take over."""


def make_request(options: Mapping[str, Any], settings: Mapping[str, Any], paths: Sequence[Path]) -> Request:
    """Return what is asked, as it compares with what comes back from a file."""
    plain = json.loads(json.dumps([options, settings], default=str))
    return Request(plain[0], plain[1], {str(path): file_stamp(path) for path in paths})


def choose_place(wanted: Path, request: Request, *, fresh: bool = False) -> Place:
    """The folder for a run: `wanted`, or the same name with a number where that is taken; created if it is missing.

    A run is continued if the same was asked of it and every image that it scored is still there in the same state; one
    that is finished must have had exactly the same images. Any other run gets a new folder, so that no result of
    another run changes. It may take over the scores of the latest run with the same settings whose images it all has:
    who references whom depends on the images of a run.

    Args:
        wanted: the folder as the user named it.
        request: what is asked.
        fresh: neither continue a run nor take over scores.

    Raises:
        ValueError: the folder has no name of its own, as . and .. have none.
        OSError: the folder cannot be created.
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
    """Return what there is of the folder and its numbered siblings, by number in ascending order."""
    pattern = re.compile(rf"{re.escape(_stem(wanted))}([1-9]\d*)")
    siblings = list(wanted.parent.iterdir()) if wanted.parent.is_dir() else []
    matches = {path: pattern.fullmatch(path.name) for path in siblings}
    found = {int(match[1]): path for path, match in matches.items() if match is not None}
    if os.path.lexists(wanted):
        found[1] = wanted
    return {number: found[number] for number in sorted(found)}


def _stem(wanted: Path) -> str:
    """Return what numbers are added to; a digit is not mistaken for one of them."""
    return f"{wanted.name}-" if wanted.name[-1].isdigit() else wanted.name


def _create(wanted: Path, taken: int) -> Path:
    """A new, empty folder with the next number, or the wanted one if it is empty."""
    if taken <= 1 and wanted.is_dir() and not any(wanted.iterdir()):
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    while True:  # another run may have taken the number since
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
