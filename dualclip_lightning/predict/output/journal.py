"""Record of the progress of a run, which remains usable if the run is killed at any moment."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dualclip_lightning.predict.output.log import Log, changed_settings, read_records
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.record import as_read

if TYPE_CHECKING:
    from typing_extensions import Self

LOG = "journal.jsonl"
"""Name of the log in a journal's folder."""
Stamp = tuple[int, int]
"""Size and modification time of a file; if either differs, results computed from it are no longer valid."""


@dataclass(frozen=True)
class Entry:
    """One scored image, without its map."""

    name: str
    stamp: Stamp
    score: float
    peak: float
    size: tuple[int, int]
    references: tuple[str, ...]
    geometry: str
    seconds: float
    notes: tuple[str, ...]
    reference_stamps: tuple[Stamp | None, ...] = ()
    """Stamps of the files that it was compared with."""


class Journal:
    """The scored images of a run and their maps, from which a run with the same settings can continue.

    Args:
        folder: folder for the log and the maps.
        settings: settings on which the scores depend.
        fresh: if True, discard the results of earlier runs.

    Raises:
        ValueError: If the folder holds the results of other settings, or another run is writing to it.
        OSError: If the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.folder = folder
        try:
            self._log = Log(folder / LOG)
        except BlockingIOError as error:
            msg = f"Another run is writing to '{folder.parent.parent}'. Wait for it, or choose another --out."
            raise ValueError(msg) from error
        self.settings = as_read(settings)
        self.entries: dict[str, Entry] = {}
        self._start(fresh=fresh)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)

    def _start(self, *, fresh: bool) -> None:
        if fresh:
            self._log.clear()
        known, self.entries = read_journal(self.folder)
        if known is None:
            self._log.append({"settings": self.settings})
        elif changed := changed_settings(known, self.settings):
            self._log.__exit__(None, None, None)
            msg = (
                f"'{self.folder.parent.parent}' holds results of other settings (changed: {changed}). "
                "Choose another --out, or discard them with --fresh."
            )
            raise ValueError(msg)

    def knows(self, name: str, stamp: Stamp | None) -> bool:
        """Return whether there are a score and a map for this state of a file and its references' current state."""
        entry = self.entries.get(name)
        if entry is None or entry.stamp != stamp or entry.reference_stamps != _stamps(entry.references):
            return False
        return _map_file(self.folder, name).is_file()

    def add(self, prediction: Prediction, stamp: Stamp) -> Entry:
        """Store a result, first its map, then its line in the log, and return its entry.

        Raises:
            OSError: If it cannot be written.
        """
        buffer = io.BytesIO()
        np.save(buffer, prediction.patch_map, allow_pickle=False)
        write_bytes_atomically(_map_file(self.folder, prediction.name), buffer.getvalue())
        entry = Entry(prediction.name, stamp, prediction.score, prediction.peak, prediction.size,
                      prediction.references, prediction.geometry, prediction.seconds, prediction.notes,
                      _stamps(prediction.references))  # fmt: skip
        self._keep(entry)
        return entry

    def _keep(self, entry: Entry) -> None:
        self._log.append(asdict(entry))
        self.entries[entry.name] = entry

    def read_again(self) -> None:
        """Read the entries from the file, which may have one more than the memory after an interruption."""
        self.entries = read_journal(self.folder)[1]

    def adopt(self, folder: Path) -> None:
        """Copy the scores of unchanged images from another journal with the same settings.

        Raises:
            OSError: If one cannot be written.
        """
        settings, entries = read_journal(folder)
        for entry in entries.values() if settings == self.settings else ():
            source = _map_file(folder, entry.name)
            if entry.name in self.entries or file_stamp(entry.name) != entry.stamp or not source.is_file():
                continue
            write_bytes_atomically(_map_file(self.folder, entry.name), source.read_bytes())
            self._keep(entry)

    def patch_map(self, name: str) -> npt.NDArray[np.float32]:
        """Return the map of an image that is in the journal."""
        return np.load(_map_file(self.folder, name), allow_pickle=False)


def read_journal(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Entry]]:
    """Return the settings of a journal, or None if there are none yet, and its entries by name; the latest counts."""
    settings: dict[str, Any] | None = None
    entries: dict[str, Entry] = {}
    for record in read_records(folder / LOG):
        if "settings" in record:
            settings = record["settings"]
        elif (entry := _entry(record)) is not None:
            entries[entry.name] = entry
    return settings, entries


def _map_file(folder: Path, name: str) -> Path:
    digest = sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return folder / "maps" / digest[:2] / f"{digest}.npy"


def file_stamp(path: str | Path) -> Stamp | None:
    """Return the state of a file, or None if it cannot be determined."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # missing, or a name that no file can have
        return None
    return status.st_size, status.st_mtime_ns


def _stamps(names: Iterable[str]) -> tuple[Stamp | None, ...]:
    return tuple(file_stamp(name) for name in names)


def _entry(record: Mapping[str, Any]) -> Entry | None:
    """Return the entry of a line, or None if the line is not an entry."""
    try:
        size, stamp = record["size"], record["stamp"]
        lists = {key: tuple(record[key]) for key in ("references", "notes")}
        lists["reference_stamps"] = tuple(each and (each[0], each[1]) for each in record["reference_stamps"])
        return Entry(**{**record, **lists, "size": (size[0], size[1]), "stamp": (stamp[0], stamp[1])})
    except (KeyError, TypeError, IndexError):
        return None
