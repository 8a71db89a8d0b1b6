"""Runs cells on one machine: in this process, or in several at once, each with a GPU or its share of the cores.

There is no server and no state but the files: whoever finishes a cell writes it whole, so a run that is stopped at any
moment loses the cells in progress and no others.
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
    """Something that happened to a cell."""

    cell: Cell
    row: Mapping[str, Any] | None
    """Its result, or None when it has begun."""


class WorkerDiedError(RuntimeError):
    """A process ended without a result, for example because the system took its memory back."""


def finish_cell(cell: Cell, folder: Path, place: CellPlace) -> Mapping[str, Any]:
    """Run a cell and write it, unless somebody else has meanwhile; its row."""
    if not is_finished(folder, cell.key, cell.keep_maps):
        write_cell(folder, run_cell(cell, place))
    return read_cell(folder, cell.key) or {}


def run_here(cells: Iterable[Cell], folder: Path, place: CellPlace) -> Iterator[Event]:
    """Run cells one after the other in this process."""
    for cell in cells:
        yield Event(cell, None)
        yield Event(cell, finish_cell(cell, folder, place))


def run_in_processes(cells: Iterable[Cell], folder: Path, places: Sequence[CellPlace]) -> Iterator[Event]:
    """Run cells in as many processes as there are places; a process that dies fails its cell and is replaced."""
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
    """A process that runs one cell at a time; it ends when its connection does, however this process ended."""

    cell: Cell

    def __init__(self, folder: Path, place: CellPlace) -> None:
        context = get_context("spawn")  # a fork would inherit threads and CUDA in an unusable state
        self.place = place
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, folder, place))
        self.process.start()
        theirs.close()  # so that the end of the process closes the connection

    def begin(self, cell: Cell) -> Cell:
        """Hand over a cell; if the process has died meanwhile, `end` says so."""
        self.cell = cell
        try:
            self.connection.send(cell)
        except OSError:
            self.process.join()
        return cell

    def end(self) -> Mapping[str, Any]:
        """The row of the cell.

        Raises:
            WorkerDiedError: the process ended before.
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
        """End the process, at once if it is busy."""
        self.connection.close()
        self.process.join(0.1)
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()


def _serve(connection: Connection, folder: Path, place: CellPlace) -> None:
    """Run the cells that come until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked for the cells decides what an interrupt means
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        row = finish_cell(cell, folder, place)
        try:
            connection.send(row)
        except OSError:  # nobody is there to hear it; the cell is written
            return


def _record(folder: Path, result: CellResult) -> Mapping[str, Any]:
    write_cell(folder, result)
    return result.row
