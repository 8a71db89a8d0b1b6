"""Walk through the files below a folder, which follows links once and leaves out the results of earlier runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dualclip_lightning.utilities.record import results_around, written


@dataclass
class Walk:
    """Walk through several folders that enters each of them once, even if it has several names."""

    unreadable: dict[str, str] = field(default_factory=dict)
    """Folders that could not be read, with the reason."""
    results: dict[str, None] = field(default_factory=dict)
    """Folders with the results of earlier runs, which were left out, in the order in which they were found."""
    _entered: set[str] = field(default_factory=set)

    def files(self, folder: Path) -> list[Path]:
        """Return all new files below a folder, sorted; names starting with a dot are ignored."""
        found: list[Path] = []
        waiting = [folder]
        while waiting:  # links come last, so that a folder keeps its own name if it is here
            top = waiting.pop(0)
            if self.is_result(top):
                continue
            for parent, folders, names in os.walk(top, onerror=self._note):
                if not self._enter(parent):
                    folders.clear()
                    continue
                inside = [path for path in self._visible(Path(parent), folders) if not self._is_run(path)]
                links = [path for path in inside if path.is_symlink()]
                waiting += sorted(links)
                folders[:] = [path.name for path in inside if path not in links]
                found += self._visible(Path(parent), names)
        return sorted(found)

    def is_result(self, path: Path) -> bool:
        """Return whether a file or folder belongs to the results of a run, and note those as left out."""
        around = results_around(path)
        if around is not None:
            self.results[str(around)] = None
        return around is not None

    def _visible(self, folder: Path, names: Iterable[str]) -> list[Path]:
        """Return the visible paths in a folder, and note the results of earlier runs as left out."""
        wrote = written(folder) or frozenset()
        self.results.update((str(folder / name), None) for name in names if name in wrote)
        return [folder / name for name in names if not name.startswith(".") and name not in wrote]

    def _is_run(self, folder: Path) -> bool:
        whole = written(folder) is None
        if whole:
            self.results[str(folder)] = None
        return whole

    def _enter(self, folder: str) -> bool:
        real = os.path.realpath(folder)
        first = real not in self._entered
        self._entered.add(real)
        return first

    def _note(self, error: OSError) -> None:
        self.unreadable[str(error.filename)] = f"the folder cannot be read ({error.strerror})."
