"""Runner for one machine: in this process, or in several at once, each with a GPU or its share of the cores.

The only state is the files: each finished cell is written atomically, so a run that is stopped at any time loses only
the cells in progress.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.results import CellResult, is_finished, read_cell, write_cell
from dualclip_lightning.benchmark.run.execute import failed_result, run_cell
from dualclip_lightning.benchmark.run.machine import CellPlace

STOP_SECONDS = 5.0


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
    idle = list(places[: len(waiting)])
    busy: dict[Any, _Worker] = {}
    workers: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and (idle or workers):
                worker = workers.pop() if workers else _Worker(folder, idle.pop())
                busy[worker.connection] = worker
                yield Event(worker.begin(waiting.popleft()), None)
            for connection in wait(list(busy)):
                worker = busy.pop(connection)
                try:
                    row = worker.end()
                    workers.append(worker)
                except WorkerDiedError as error:
                    row = _record(folder, failed_result(worker.cell, error))
                    idle.append(worker.place)
                yield Event(worker.cell, row)
    finally:
        for worker in (*workers, *busy.values()):
            worker.stop()


class _Worker:
    """A process that runs one cell at a time and ends when its connection closes, even if this process was killed."""

    cell: Cell

    def __init__(self, folder: Path, place: CellPlace) -> None:
        context = get_context("spawn")  # a fork would inherit threads and CUDA in an unusable state
        self.place = place
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, folder, place))
        self.process.start()
        theirs.close()  # so that the connection closes when the process ends

    def begin(self, cell: Cell) -> Cell:
        """Send a cell; if the process has died, `end` reports it."""
        self.cell = cell
        try:
            self.connection.send(cell)
        except OSError:
            self.process.join()
        return cell

    def end(self) -> Mapping[str, Any]:
        """Wait for the row of the cell.

        Raises:
            WorkerDiedError: the process ended without a result.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            self.connection.close()
            self.process.join()
            msg = (
                f"The process that ran this cell ended with exit code {self.process.exitcode}. If the machine ran out "
                "of memory, set a smaller batch_size or fewer workers."
            )
            raise WorkerDiedError(msg) from error

    def stop(self) -> None:
        """End the process, immediately if it is busy."""
        self.connection.close()
        self.process.join(0.1)
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()


def _serve(connection: Connection, folder: Path, place: CellPlace) -> None:
    """Run cells from the connection until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles interrupts
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        row = finish_cell(cell, folder, place)
        try:
            connection.send(row)
        except OSError:  # the parent process is gone, but the cell is written
            return


def _record(folder: Path, result: CellResult) -> Mapping[str, Any]:
    write_cell(folder, result)
    return result.row
