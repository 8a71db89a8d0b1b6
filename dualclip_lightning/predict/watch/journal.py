"""The journal of a station: what it did with each file, so that a kill neither loses nor doubles an image."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dualclip_lightning.predict.output.folders import WORK
from dualclip_lightning.predict.output.journal import LOG, Stamp
from dualclip_lightning.predict.output.log import Log, changed_settings, read_records
from dualclip_lightning.predict.watch.files import complete_line, move_durably, plan_line
from dualclip_lightning.utilities.record import as_read

if TYPE_CHECKING:
    from typing_extensions import Self


PLACE = Path(WORK, "watch")
"""Subfolder of the results for the journal."""


@dataclass(frozen=True)
class Step:
    """What is to be done about one file after it was scored or given up.

    Args:
        number: number of the step.
        name: path of the file.
        stamp: its state.
        lines: for each table by its name, the place at which a line goes and its text.
        target: path that the file is moved to, if it is moved.
        scored: False if the file could not be used.
    """

    number: int
    name: str
    stamp: Stamp
    lines: Mapping[str, tuple[int, str]]
    target: str | None = None
    scored: bool = True


class WatchJournal:
    """A write-ahead log: each step is written before it is carried out, and noted as finished after it.

    At the start, the only step that may be unfinished is carried out to its end.

    Args:
        folder: folder of the results.
        settings: settings on which the scores depend, with the folder that is watched.
        keep: number of the latest scored files to remember.

    Raises:
        ValueError: If the folder holds the results of other settings, or another process is writing to it.
        OSError: If a result cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], keep: int = 0) -> None:
        self.folder = folder
        self.known: dict[str, Stamp] = {}
        """The state of each file that is done and still at its place."""
        self.latest: deque[tuple[str, Stamp]] = deque(maxlen=keep)
        """The paths and states of the latest scored files, the latest last."""
        self.steps = 0
        """Number of steps so far."""
        try:
            self._log = Log(folder / PLACE / LOG, durable=True)
        except BlockingIOError as error:
            msg = f"Another process is writing to '{folder}'. Stop it, or choose another --out."
            raise ValueError(msg) from error
        try:
            self._start(as_read(settings))
        except BaseException:
            self._log.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)

    def _start(self, settings: dict[str, Any]) -> None:
        known: dict[str, Any] | None = None
        open_step: Step | None = None
        for record in read_records(self._log.path):
            if "settings" in record:
                known = record["settings"]
            elif "finished" in record and open_step is not None:
                self._note(open_step, moved=record["moved"])
                open_step = None
            elif "name" in record:
                open_step = _step(record)
                self.steps = open_step.number
        if known is None:
            self._log.append({"settings": settings})
        elif changed := changed_settings(known, settings):
            msg = f"'{self.folder}' holds results of other settings (changed: {changed}). Choose another --out."
            raise ValueError(msg)
        if open_step is not None:
            self._carry_out(open_step)

    def add(
        self, name: str, stamp: Stamp, lines: Mapping[str, tuple[str, str]], target: Path | None, *, scored: bool = True
    ) -> str | None:
        """Write lines into tables and move a file.

        Args:
            name: path of the file.
            stamp: its state.
            lines: header and line for each table by its name.
            target: free path that it is moved to, or None.
            scored: False if the file could not be used.

        Returns:
            The reason why the file could not be moved, or None.

        Raises:
            OSError: If a line cannot be written.
        """
        planned = {table: plan_line(self.folder / table, *text) for table, text in lines.items()}
        step = Step(self.steps + 1, name, stamp, planned, None if target is None else str(target), scored)
        self._log.append(asdict(step))
        self.steps = step.number
        return self._carry_out(step)

    def _carry_out(self, step: Step) -> str | None:
        for table, (place, text) in step.lines.items():
            complete_line(self.folder / table, place, text)
        reason = None
        if step.target is not None:
            try:
                move_durably(Path(step.name), Path(step.target), step.stamp)
            except OSError as error:
                reason = error.strerror or str(error)
        moved = step.target is not None and reason is None
        self._log.append({"finished": step.number, "moved": moved})
        self._note(step, moved=moved)
        return reason

    def _note(self, step: Step, *, moved: bool) -> None:
        if moved:
            self.known.pop(step.name, None)
        else:
            self.known[step.name] = step.stamp
        if step.scored:
            self.latest.append((str(step.target) if moved else step.name, step.stamp))


def check_place(folder: Path) -> None:
    """Check that a folder does not exist, is empty, or holds the results of a station.

    Raises:
        ValueError: If it holds anything else.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / PLACE).is_dir() or not any(folder.iterdir()))):
        msg = f"'{folder}' holds something other than results of dualclip watch. Choose another --out."
        raise ValueError(msg)


def _step(record: Mapping[str, Any]) -> Step:
    lines = {table: (place, text) for table, (place, text) in record["lines"].items()}
    size, modified = record["stamp"]
    return Step(**{**record, "stamp": (size, modified), "lines": lines})
