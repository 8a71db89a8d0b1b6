"""Image files that have arrived completely in a folder, found by polling."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dualclip_lightning.images.finding.listing import is_image_name
from dualclip_lightning.images.finding.walking import Walk
from dualclip_lightning.predict.output.journal import Stamp, file_stamp

GRANULARITY = 2.0
"""Seconds by which the modification time of a file may be wrong: FAT stores even seconds."""


@dataclass(frozen=True)
class Waiting:
    """A file that is not scored yet: its state, and the number of polls that found it in this state."""

    stamp: Stamp
    polls: int


class Arrivals:
    """Files of a folder and its subfolders that are complete and not known yet.

    A file is complete if two polls found it with the same size and modification time. A file that was not there at the
    poll before, but is older than that, was renamed into place and is complete at once.

    Args:
        folder: folder that is polled.
        known: states of the files that are done, by name, as of each poll; a file in another state is a new arrival.
        left_out: function that returns whether a file is to be ignored.
        clock: function that returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        known: Mapping[str, Stamp],
        left_out: Callable[[Path], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.known = known
        self.unreadable: dict[str, str] = {}
        """Folders that the latest poll could not read, with the reason."""
        self._left_out, self._clock = left_out, clock
        self._waiting: dict[str, Waiting] = {}
        self._polled: float | None = None

    @property
    def waiting(self) -> list[str]:
        """The names of the files that are not done, as of the latest poll."""
        return list(self._waiting)

    def poll(self) -> dict[Path, Stamp]:
        """Return the complete files with their states, in the order of their modification times."""
        began, walk = self._clock(), Walk()
        paths = [path for path in walk.files(self.folder) if is_image_name(path) and not self._left_out(path)]
        before, self._waiting, self.unreadable = self._waiting, {}, walk.unreadable
        ready: dict[Path, Stamp] = {}
        for path in paths:
            name, stamp = str(path), file_stamp(path)
            if stamp is None or self.known.get(name) == stamp:
                continue
            last = before.get(name)
            polls = last.polls + 1 if last is not None and last.stamp == stamp else 1
            self._waiting[name] = Waiting(stamp, polls)
            if polls > 1 or (last is None and self._is_older(stamp)):
                ready[path] = stamp
        self._polled = began
        return dict(sorted(ready.items(), key=lambda item: (item[1][1], str(item[0]))))

    def polls(self, path: Path) -> int:
        """Return how many polls in a row have found a waiting file in its present state."""
        return self._waiting[str(path)].polls

    def done(self, path: Path) -> None:
        """Note that a file needs nothing more in its present state."""
        self._waiting.pop(str(path), None)

    def _is_older(self, stamp: Stamp) -> bool:
        """Return whether a file was last changed before the previous poll, which did not find it."""
        return self._polled is not None and stamp[1] / 1e9 + GRANULARITY < self._polled
