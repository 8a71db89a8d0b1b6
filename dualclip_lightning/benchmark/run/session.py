"""A run of a benchmark: finding the cells to run, running them, and assembling the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from omegaconf import OmegaConf
from rich.console import Console

from dualclip_lightning.benchmark.names import short_revision
from dualclip_lightning.benchmark.parquet import remove_parquet, write_parquet
from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.cells import Cell, plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.plan.schema import Config
from dualclip_lightning.benchmark.results import assemble, is_finished, read_cell, write_cell
from dualclip_lightning.benchmark.run.data import check_data, check_training_images
from dualclip_lightning.benchmark.run.execute import failed_result
from dualclip_lightning.benchmark.run.local_runner import Event, run_here, run_in_processes
from dualclip_lightning.benchmark.run.machine import CellPlace, default_workers, git_revision, places
from dualclip_lightning.benchmark.run.progress import Board, watched
from dualclip_lightning.benchmark.run.ray_runner import Resources, import_ray, run_on_ray
from dualclip_lightning.benchmark.run.rehearsal import Need, fetch_weights, rehearse
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.record import mark_results

SECONDS_BETWEEN_TABLES = 30
"""Time between two updates of results.csv during a run, because each reads all cells."""


class DataError(RuntimeError):
    """A data set is missing and cannot be downloaded or generated; the message names root and remedy."""


class Means(NamedTuple):
    """Resources of a benchmark."""

    workers: int | None = None
    """Number of processes on this machine; None for one per GPU, or one on the CPU."""
    ray: Resources | None = None
    """Resources of a cell on a Ray cluster; None for this machine."""


class Todo(NamedTuple):
    """The cells of a plan and their status."""

    cells: list[Cell]
    finished: list[Cell]
    pending: list[Cell]

    @property
    def keys(self) -> list[str]:
        """Return the keys of all cells, in the order of the plan."""
        return [cell.key for cell in self.cells]


def look(config: Config, folder: Path) -> Todo:
    """Find the finished cells of a benchmark in a folder; failed cells are run again."""
    cells = plan(config)
    finished = [cell for cell in cells if is_finished(folder, cell.key, cell.keep_maps)]
    done = {cell.key for cell in finished}
    return Todo(cells, finished, [cell for cell in cells if cell.key not in done])


def run_benchmark(
    config: Config,
    folder: Path,
    means: Means = Means(),  # noqa: B008 - it cannot be changed
    console: Console | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> pd.DataFrame:
    """Run the missing cells and return the results, one row per cell.

    After an interruption, the same call continues; results.csv has the finished cells, also during the run.

    Args:
        config: the benchmark.
        folder: folder of the results.
        means: processes, or resources on a cluster.
        console: terminal that shows a table of the progress; None for no table.
        on_event: called when a cell begins, and when it has ended and its result is written.

    Raises:
        dualclip_lightning.benchmark.plan.config.ConfigError: an argument that a method refuses, no such device, or
            weights or training images that are missing.
        ModuleNotFoundError: a cluster was asked for and Ray is not installed.
        OSError: a file cannot be written.
    """
    todo = look(config, folder)
    console = console or Console(quiet=True)
    needs = refuse(todo.pending, on_cluster=means.ray is not None)
    for need in needs:
        console.print(need.sentence(), highlight=False, markup=False)
    if means.ray is None:
        with quiet():
            fetch_weights(needs)
    write_bytes_atomically(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(config))).encode())
    mark_results(folder, ("cells", "tables"))
    assemble(folder, todo.keys)
    remove_parquet(folder)
    due = 0.0
    try:
        workers = 1 if means.ray else means.workers or default_workers(todo.cells[0].device)
        board = Board(todo.cells, [cell.key for cell in todo.finished], workers)
        for event in watched(_events(todo.pending, folder, means, workers), board, console):
            if event.row is not None and time.monotonic() >= due:
                assemble(folder, todo.keys)
                due = time.monotonic() + SECONDS_BETWEEN_TABLES
            if on_event is not None:
                on_event(event)
    finally:
        frame = assemble(folder, todo.keys)
    if config.parquet:
        write_parquet(folder)
    return frame


def refuse(cells: Sequence[Cell], on_cluster: bool = False) -> list[Need]:
    """Check cells before anything runs, and return the weights that are to be downloaded.

    Raises:
        dualclip_lightning.benchmark.plan.config.ConfigError: an argument that a method refuses, or no such device here.
        ModuleNotFoundError: a cluster is asked for and Ray is not installed.
    """
    if on_cluster:
        import_ray()
    else:
        _check_device(cells)
        check_data(cells)
    with quiet():
        rehearsal = rehearse(cells)
        if not on_cluster:
            check_training_images(rehearsal.learning)
    return rehearsal.needs


def notes(todo: Todo, folder: Path) -> Iterator[str]:
    """Yield notes about a folder with earlier results."""
    if todo.finished:
        yield f"{len(todo.finished)} of {len(todo.cells)} cells are finished already."
    others = {path.stem for path in (folder / "cells").glob("*.json")} - set(todo.keys)
    if others:
        yield f"{len(others)} cells of other settings stay in {folder / 'cells'} and are not part of the results."
    revisions = {(read_cell(folder, cell.key) or {}).get("git_revision") for cell in todo.finished} - {git_revision()}
    if revisions:
        shown = ", ".join(sorted(short_revision(revision or "unknown") for revision in revisions))
        yield f"Some finished cells come from another revision of the code: {shown}. Delete them to run them again."


def _events(cells: Sequence[Cell], folder: Path, means: Means, workers: int) -> Iterator[Event]:
    errors = _prepare(cells)
    for cell in cells:
        if _data(cell) in errors:
            result = failed_result(cell, errors[_data(cell)])
            write_cell(folder, result)
            yield Event(cell, result.row)
    ready = [cell for cell in cells if _data(cell) not in errors]
    where = places(cells[0].device, workers) if cells else []
    if means.ray is not None:
        yield from run_on_ray(ready, folder, means.ray)
    elif workers == 1:
        yield from run_here(ready, folder, where[0] if where else CellPlace())
    else:
        yield from run_in_processes(ready, folder, where)


def _check_device(cells: Sequence[Cell]) -> None:
    if any(cell.device == "cuda" for cell in cells) and not torch.cuda.is_available():
        msg = "Expected a GPU that PyTorch can use for device=cuda, but there is none. Set device=cpu or device=auto."
        raise ConfigError(msg)


def _data(cell: Cell) -> tuple[str, str]:
    return cell.dataset, cell.category


def _prepare(cells: Iterable[Cell]) -> dict[tuple[str, str], DataError]:
    """Download or generate each data set once, before several processes start; return the errors by data set."""
    parts = {_data(cell): cell for cell in cells}
    return {part: error for part, cell in parts.items() if (error := _preparation_error(cell)) is not None}


def _preparation_error(cell: Cell) -> DataError | None:
    try:
        with quiet():
            cell.datamodule().prepare_data()
    except Exception as error:  # noqa: BLE001  # recorded with every cell that needs the data
        wrapped = DataError(_say_unprepared(cell, error))
        wrapped.__cause__ = error
        return wrapped
    return None


def _say_unprepared(cell: Cell, error: Exception) -> str:
    root = (catalogue.data_arguments(cell.data) | dict(cell.data_arguments)).get("root")
    text = f"{type(error).__name__}: {error}"
    if root is None:
        return f"The data of {cell.dataset} {cell.category} cannot be prepared ({text})."
    return (
        f"The data of {cell.dataset} {cell.category} are not under '{root}' and cannot be had ({text}). "
        f"Put them there, or set `datasets.{cell.dataset}.arguments.root` to where they are."
    )
