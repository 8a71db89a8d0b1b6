"""Runner for one machine: in this process, or in several at once, each with a GPU or its share of the cores.

The only state is the files: each finished cell is written atomically, so a run that is stopped at any time loses only
the cells in progress.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.results import CellResult, is_finished, read_cell, write_cell
from dualclip_lightning.benchmark.run.execute import failed_result, run_cell
from dualclip_lightning.benchmark.run.machine import CellPlace
from dualclip_lightning.utilities.processes import ChildProcess, ParentProcess, ProcessEndedError, ProcessPool


class Event(NamedTuple):
    """Start or end of a cell."""

    cell: Cell
    row: Mapping[str, Any] | None
    """Result of the cell; None if it has started."""


class WorkerDiedError(RuntimeError):
    """A process ended without a result, for example because the system ran out of memory."""


def finish_cell(cell: Cell, folder: Path, place: CellPlace) -> Mapping[str, Any]:
    """Run a cell, write it unless another process has done so, and return its row."""
    if not is_finished(folder, cell.key, cell.keep_maps):
        write_cell(folder, run_cell(cell, place))
    return read_cell(folder, cell.key) or {}


def run_here(cells: Iterable[Cell], folder: Path, place: CellPlace) -> Iterator[Event]:
    """Run cells one after another in this process."""
    for cell in cells:
        yield Event(cell, None)
        yield Event(cell, finish_cell(cell, folder, place))


def run_in_processes(cells: Iterable[Cell], folder: Path, places: Sequence[CellPlace]) -> Iterator[Event]:
    """Run cells in one process per place; if a process dies, its cell fails and the process is replaced."""
    waiting = deque(cells)
    free = list(places[: len(waiting)])
    idle: list[tuple[ChildProcess, CellPlace]] = []
    busy: dict[ChildProcess, tuple[CellPlace, Cell]] = {}
    with ProcessPool() as pool:
        while waiting or busy:
            while waiting and (idle or free):
                if not idle:
                    place = free.pop()
                    idle.append((pool.start(_serve, folder, place), place))
                child, place = idle.pop()
                cell = waiting.popleft()
                child.send(cell)
                busy[child] = place, cell
                yield Event(cell, None)
            for child in pool.ready(busy):
                place, cell = busy.pop(child)
                try:
                    row = _receive(child)
                    idle.append((child, place))
                except WorkerDiedError as error:
                    row = _record(folder, failed_result(cell, error))
                    free.append(place)
                yield Event(cell, row)


def _receive(child: ChildProcess) -> Mapping[str, Any]:
    """Return the row of a process's cell."""
    try:
        return child.receive()
    except ProcessEndedError as error:
        msg = (
            f"The process that ran this cell ended with exit code {error.exit_code}. If the machine ran out of memory, "
            "set a smaller batch_size or fewer workers."
        )
        raise WorkerDiedError(msg) from error


def _serve(parent: ParentProcess, folder: Path, place: CellPlace) -> None:
    """Run the cells that the parent process sends, and send back their rows."""
    while True:
        parent.send(finish_cell(parent.receive(), folder, place))


def _record(folder: Path, result: CellResult) -> Mapping[str, Any]:
    write_cell(folder, result)
    return result.row
