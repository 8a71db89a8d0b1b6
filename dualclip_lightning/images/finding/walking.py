"""All files below a folder: links to folders are followed once, what runs of ours have written is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dualclip_lightning.utilities.record import results_around, written


@dataclass
class Walk:
    """What was met on the way through some folders; each is entered once, by whatever names it is reached."""

    unreadable: dict[str, str] = field(default_factory=dict)
    """Folders that could not be read, with the reason."""
    results: dict[str, None] = field(default_factory=dict)
    """Folders with the results of runs, which were left out, in the order met."""
    _entered: set[str] = field(default_factory=set)

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder that were not met before, sorted; what starts with a dot does not count."""
        found: list[Path] = []
        waiting = [folder]
        while waiting:  # links wait, so that a folder is known by its own name where it has one here
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
        """Return whether a file or folder belongs to the results of a run, which are then noted as left out."""
        around = results_around(path)
        if around is not None:
            self.results[str(around)] = None
        return around is not None

    def _visible(self, folder: Path, names: Iterable[str]) -> list[Path]:
        """Paths of what counts in a folder; what runs have written there is noted as left out."""
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
